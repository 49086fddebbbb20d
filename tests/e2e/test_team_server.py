"""What compose.yaml starts, here without containers: PostgreSQL, Prefect's server, a worker, S3."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import yaml
from conftest import REPOSITORY
from moto.server import ThreadedMotoServer
from repository import git
from serving import edit_deployment, free_port

from digits.core import processes
from digits.core.project import Project

pytestmark = pytest.mark.timeout(400)

COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
SECRETS = {
    "PREFECT_API_AUTH_STRING": "team:pass word/@:",
    "POSTGRES_PASSWORD": "pass word/@:",
    "AWS_ACCESS_KEY_ID": "the-key",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
}
_VARIABLE = re.compile(r"\$\{(\w+):[-?]([^}]*)\}")
_TIMEOUT = 200.0  # s; creating Prefect's tables takes long on a busy machine
_INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's aren't on the path


def test_images_are_pinned_and_only_loopback_is_open() -> None:
    services = COMPOSE["services"]
    images = {name: service["image"] for name, service in services.items()}
    own = {name for name, image in images.items() if image == "digits"}
    assert own == {"server", "worker", "deploy"}
    assert all(re.search(r":v?[\d.]+@sha256:[0-9a-f]{64}$", images[n]) for n in images.keys() - own)
    # so server and worker have the Prefect that is tested here
    recipe = services["server"]["build"]["dockerfile_inline"]
    assert re.search(r"^FROM python:[\w.-]+@sha256:[0-9a-f]{64}$", recipe, re.MULTILINE)
    assert "--require-hashes -r /tmp/requirements.lock" in recipe
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert [_resolve(port) for port in ports] == ["127.0.0.1:4200:4200", "127.0.0.1:7070:7070"]


def test_secrets_come_from_the_environment_alone() -> None:
    text = (REPOSITORY / "compose.yaml").read_text()
    values = re.findall(r"^ +\w*(?:SECRET|PASSWORD|AUTH_STRING)\w*: (.*)$", text, re.MULTILINE)
    assert len(values) == 6
    assert all(value.startswith("${") and ":?" in value for value in values)
    assert git(REPOSITORY, "check-ignore", ".env").strip() == ".env"


@pytest.mark.skipif("DIGITS_TEAM" not in os.environ, reason="half a minute of CPU")
@pytest.mark.skipif(not _INSTALLED, reason="PostgreSQL isn't installed")
def test_a_scheduled_run_completes_on_postgresql_and_pushes_to_s3(
    built_project: Project, tmp_path: Path
) -> None:
    root = built_project.root
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "flows", root / "flows", ignore=ignored)
    shutil.copy(REPOSITORY / "prefect.yaml", root)
    edit_deployment(built_project, "train", schedules=[{"interval": 20}])
    port, health = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        database = stack.enter_context(_postgres())
        storage = stack.enter_context(_storage())
        addresses = {"http://server:4200": url, "http://storage:7070": storage.meta.endpoint_url}
        config = _resolve(COMPOSE["configs"]["dvc"]["content"], addresses)
        (tmp_path / "config").write_text(config)
        here = {
            "DIGITS_ROOT": str(root),
            "DVC_SYSTEM_CONFIG_DIR": str(tmp_path),
            "NO_COLOR": "1",
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
            "PREFECT_SERVER_DATABASE_PORT": str(database),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
            "PREFECT_WORKER_WEBSERVER_PORT": str(health),
        }

        def start(name: str) -> "Process":
            service = COMPOSE["services"][name]
            values = {k: _resolve(v, addresses) for k, v in service["environment"].items()}
            program, *options = service["command"]
            python = [sys.executable, "-m"] if program == "prefect" else [sys.executable]
            command = [*python, *([program] if program == "prefect" else []), *options]
            process = Process(command, root, tmp_path / f"{name}.log", {**values, **here})
            return stack.enter_context(process)

        start("server").wait_until(lambda: httpx.get(f"{url}/api/health").json() is True)
        worker = start("worker")
        worker.wait_until(lambda: httpx.get(f"http://127.0.0.1:{health}/health").is_success)
        deploy = start("deploy")
        assert deploy.popen.wait(_TIMEOUT) == 0, deploy.log.read_text()

        assert httpx.post(f"{url}/api/flow_runs/filter").status_code == 401
        user, _, password = SECRETS["PREFECT_API_AUTH_STRING"].partition(":")
        final = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
        query = {"flow_runs": final, "deployments": {"name": {"any_": ["train"]}}}
        ended: list[Any] = []

        def has_ended() -> bool:
            answer = httpx.post(
                f"{url}/api/flow_runs/filter", json=query, auth=(user, password), timeout=30
            )
            ended.extend(answer.raise_for_status().json())
            return bool(ended)

        worker.wait_until(has_ended)
        assert ended[0]["state_type"] == "COMPLETED", worker.log.read_text()
        assert ended[0]["auto_scheduled"] is True
        lock = yaml.safe_load((root / "dvc.lock").read_text())
        (models,) = [out for out in lock["stages"]["train"]["outs"] if out["path"] == "models"]
        key = f"files/md5/{models['md5'][:2]}/{models['md5'][2:]}"
        assert storage.get_object(Bucket="digits", Key=key)["ContentLength"]


class Process:
    """A process that is ended, with its group, at the end of a `with` block."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        **options: Any,
    ) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AWS_"))}
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                cwd=folder,
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        processes.end_group(self.popen)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while self.popen.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if ready():
                    return
            time.sleep(0.3)
        pytest.fail(self.log.read_text(errors="replace")[-3000:])


@contextmanager
def _postgres() -> Iterator[int]:
    """PostgreSQL with the database and user of compose.yaml: its port on loopback."""
    options = {"user": "nobody"} if os.geteuid() == 0 else {}  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="digits-postgres-") as name:
        folder, port = Path(name), free_port()
        password, data = folder / "password", folder / "data"
        password.write_text(SECRETS["POSTGRES_PASSWORD"])
        if options:
            for path in (folder, password):
                os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
        initdb = [_INSTALLED[-1] / "initdb", "--username=prefect", f"--pwfile={password}"]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", data]
        subprocess.run(initdb, cwd=folder, check=True, capture_output=True, **options)
        command = [str(_INSTALLED[-1] / "postgres"), "-D", str(data), "-p", str(port)]
        command += ["-h", "127.0.0.1", "-k", "", "-c", "fsync=off"]
        with Process(command, folder, folder / "log", {}, **options) as server:
            address = ["-h", "127.0.0.1", "-p", str(port)]
            is_ready = [_INSTALLED[-1] / "pg_isready", "-q", *address]
            server.wait_until(lambda: subprocess.run(is_ready, check=False).returncode == 0)
            create = [_INSTALLED[-1] / "createdb", *address, "-U", "prefect", "prefect"]
            environment = {**os.environ, "PGPASSWORD": SECRETS["POSTGRES_PASSWORD"]}
            subprocess.run(create, env=environment, check=True)
            yield port


@contextmanager
def _storage() -> Iterator[Any]:
    """The client of a store like S3 that has the bucket of compose.yaml."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "the-key", "aws_secret_access_key": "the-secret"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="digits")
    try:
        yield client
    finally:
        server.stop()


def _resolve(text: str, addresses: Mapping[str, str] | None = None) -> str:
    """With the variables of .env, and the addresses of services on this machine."""
    text = _VARIABLE.sub(lambda found: SECRETS.get(found[1], found[2]), text)
    for name, address in (addresses or {}).items():
        text = text.replace(name, address)
    return text
