"""`python -m avoir` is the same as `avoir`."""

from avoir.cli import main

if __name__ == "__main__":
    main()
