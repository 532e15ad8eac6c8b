"""`python -m avoir` is the same as `avoir`."""

from avoir.cli.app import main

if __name__ == "__main__":
    main()
