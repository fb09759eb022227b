"""docker-compose.yml, supervisord.conf and the Dockerfile, read as the programs do that they are written for."""

import configparser
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from tests.source import ROOT

SECRETS = {"SECRET_KEY": "test-key", "CBMIR_HASH_KEY": "test-hash", "POSTGRES_PASSWORD": "test-password"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}|\$\$")


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Compose's ${NAME:-default} and ${NAME:?message}, and $$ for a dollar. Raises KeyError for what must be set."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if name is None:
            return "$"
        if variables.get(name):
            return variables[name]
        if kind != "-":
            raise KeyError(f"{name}: {rest}")
        return rest

    return _VARIABLE.sub(value, text)


def compose(variables: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    return yaml.safe_load(interpolated((ROOT / "docker-compose.yml").read_text(), variables))


def supervised_commands() -> dict[str, str]:
    """Each program's command, with its variables as supervisord fills them in on one machine."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read(ROOT / "supervisord.conf")
    environment = {"ENV_CBMIR_SCRIPTS": "scripts", "ENV_BIND": "0.0.0.0", "ENV_PORT": "8000"}  # noqa: S104
    return {
        section.removeprefix("program:"): (parser[section]["command"] % environment).removeprefix("scripts/")
        for section in parser.sections()
        if section.startswith("program:")
    }


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments), comments left out and continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def copied_paths() -> list[str]:
    """What the Dockerfile copies from the repository."""
    return [source for name, rest in dockerfile() if name == "COPY" for source in shlex.split(rest)[:-1]]


def option(command: str, name: str) -> str:
    """The word after an option of a command."""
    words = shlex.split(command)
    return words[words.index(name) + 1]
