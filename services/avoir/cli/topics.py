"""`avoir topics create`: create missing topics."""

from typing import Annotated

from cyclopts import App, Parameter

from avoir.cli.base.access import BROKERS, kafka_client, kafka_failures, load_settings, names_of
from avoir.cli.base.exits import Exit
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import hint, print_json, say

topics = App(name="topics", help="The topics that Avoir reads and writes.")


@topics.command
async def create(
    *,
    partitions: Annotated[
        int | None, Parameter(help="Partitions of each; default: AVOIR_KAFKA_PARTITIONS.")
    ] = None,
    replication: Annotated[
        int | None,
        Parameter(
            help="Replicas of each; default: AVOIR_KAFKA_REPLICATION, or 3, or one per broker if there are fewer."
        ),
    ] = None,
    json: AsJson = False,
) -> int:
    """Create missing topics; existing ones stay unchanged.

    Example: `avoir topics create --partitions 12 --replication 3`
    """
    from avoir.kafka.topics import create_topics

    settings = load_settings(BROKERS)
    client, names = kafka_client(settings), names_of(settings)
    async with kafka_failures(settings):
        made = await create_topics(
            client,
            names,
            partitions or settings.kafka_partitions,
            replication or settings.kafka_replication,
        )
    if json:
        print_json(made._asdict())
    else:
        say(f"{len(made.created)} topics created, {len(made.existing)} existed already.")
    for fault in made.faults:
        hint(fault)
    return Exit.FOUND if made.faults else Exit.OK
