"""A year of schedules in Prefect's real database: does it stay small and quick?

In a copy of the project, server and worker make a few real runs of each deployment. Their rows are
then replayed with new ids and shifted times, day by day for a year that ends now. At the end of
each day Prefect's own vacuum runs with the clock of that day. A second database gets the same runs
and no vacuum. At the end of each month the files are measured, `digits status` is timed as a
process, and so are the requests that the pages of Prefect's UI make; at the end, if there is a
chromium, the pages themselves.
"""

import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import serving
from websockets.sync.client import connect

from benchmarks.bench import Bench, Result
from digits.core import files
from digits.core.project import Project
from digits.formatting import markdown_table
from digits.zoo.machine import machine
from flows import services, status

REPORT = "year"
DAYS = 365
DAY = timedelta(days=1)
EVERY = 15  # minutes between two runs of the monitor
BATCHES = 6  # a day; the other runs of the monitor find nothing new
STATUS_RUNS = REQUEST_RUNS = PAGE_RUNS = 3
TARGET = 2.0  # s
_EPOCH = datetime(2000, 1, 1)
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
# table → how its rows are found from the ids of runs and their events
_TABLES = {
    "flow_run": "id IN ({run})",
    "flow_run_state": "flow_run_id IN ({run})",
    "task_run": "flow_run_id IN ({run})",
    "task_run_state": "task_run_id IN (SELECT id FROM task_run WHERE flow_run_id IN ({run}))",
    "log": "flow_run_id IN ({run})",
    "artifact": "flow_run_id IN ({run})",
    "events": "id IN ({events})",
    "event_resources": "event_id IN ({events})",
}
_EVENTS = (
    "SELECT event_id FROM event_resources WHERE resource_id = 'prefect.flow-run.' || {run} "
    "UNION SELECT event_id FROM event_resources WHERE resource_id IN "
    "(SELECT 'prefect.task-run.' || id FROM task_run WHERE flow_run_id = {run})"
)
_EVENT_TABLES = ("events", "event_resources")


def measure(bench: Bench) -> dict[str, Result]:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        project = _copy(bench.project, Path(folder) / "project")
        templates = _real_runs(project)
        database = project.build / "prefect" / "prefect.db"
        endless = Path(folder) / "endless.db"
        _empty(database)
        shutil.copy(database, endless)
        with serving.prefect_api(project) as api:
            months = _simulate(project, database, endless, templates, api)
            pages = _pages(api.removesuffix("/api"), database)
    _write(bench.project, templates, months, pages, (time.monotonic() - start) / 60)
    last, sizes = months[-1], [month["megabytes"] for month in months]
    return {
        "year_database": Result(
            last["megabytes"],
            "MB after a year",
            f"{last['endless']:,.0f} MB of runs alone, without retention",
            "no growth after the retention period",
            sizes,
            f"{last['runs']:,} runs kept of {last['replayed']:,}",
        ),
        "year_status": Result(
            last["status"],
            "s, digits status, whole process",
            f"{months[0]['status']:.2f} s after a month",
            f"≤ {TARGET:g}",
            [month["status"] for month in months],
        ),
        "year_requests": Result(
            last["slowest"],
            "s, slowest request of the UI's pages",
            f"{months[0]['slowest']:.2f} s after a month",
            f"≤ {TARGET:g}",
            [month["slowest"] for month in months],
            last["request"],
        ),
        **(
            {
                "year_pages": Result(
                    max(pages.values()),
                    "s, slowest page of the UI in chromium",
                    "–",
                    f"≤ {TARGET:g}",
                    list(pages.values()),
                    max(pages, key=lambda name: pages[name]),
                )
            }
            if pages
            else {}
        ),
    }


def _copy(project: Project, folder: Path) -> Project:
    """The project with its data, results and cache, without its runs."""
    unwanted = {
        str(project.root / name)
        for name in (".venv", "build/prefect", "build/state", "build/zoo", "build/evidently")
    }
    shutil.copytree(
        project.root,
        folder,
        symlinks=True,
        ignore=lambda at, names: [name for name in names if f"{at}/{name}" in unwanted],
    )
    return Project(folder)


# real runs


def _real_runs(project: Project) -> dict[str, str]:
    """The rows of a real run of each kind, as JSON with marks for ids and minutes."""
    port = serving.free_port()
    started = serving.server(project, "start", "--port", str(port))
    assert started.returncode == 0, started.stdout + started.stderr
    url = f"http://127.0.0.1:{port}"
    try:
        runs = {"quiet": _run(url, "digits-monitor/monitor", inbox="build/inbox", quiet=0)}
        (project.build / "inbox").mkdir(parents=True, exist_ok=True)
        shutil.copy(project.golden, project.build / "inbox" / "golden.png")
        runs["batch"] = _run(url, "digits-monitor/monitor", inbox="build/inbox", quiet=0)
        runs["maintain"] = _run(url, "digits-maintain/maintain")
        runs["train"] = _run(url, "digits-pipeline/train")
        time.sleep(10)  # events and logs come later
    finally:
        serving.server(project, "stop")
    database = project.build / "prefect" / "prefect.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return {kind: _template(connection, run) for kind, run in runs.items()}


def _run(url: str, deployment: str, **parameters: object) -> str:
    """Create a run, wait for its end, and return its id."""
    found = httpx.get(f"{url}/api/deployments/name/{deployment}", timeout=30).json()["id"]
    create = f"{url}/api/deployments/{found}/create_flow_run"
    run = httpx.post(create, json={"parameters": parameters}, timeout=30).json()["id"]
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        state = httpx.get(f"{url}/api/flow_runs/{run}", timeout=30).json()["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            print(f"{deployment}: {state['name']}, {state['message']}", flush=True)
            return str(run)
        time.sleep(0.5)
    raise SystemExit(f"{deployment}: no end within 5 min")


def _template(connection: sqlite3.Connection, run: str) -> str:
    """All rows of a run: table → rows; its ids begin with a mark, and it starts at `_EPOCH`."""
    events = _EVENTS.format(run=f"'{run}'")
    rows = {
        table: connection.execute(
            f"SELECT * FROM {table} WHERE {where.format(run=repr(run), events=events)}"
        ).fetchall()
        for table, where in _TABLES.items()
    }
    columns = {t: [c[1] for c in connection.execute(f"PRAGMA table_info({t})")] for t in rows}
    text = json.dumps(rows)
    for table, found in rows.items():
        for row in found:
            own = row[columns[table].index("id")]
            text = text.replace(own, f"@@@@@@@@{own[8:]}")
    (begin,) = connection.execute("SELECT start_time FROM flow_run WHERE id = ?", (run,)).fetchone()
    begin = datetime.fromisoformat(begin).replace(second=0, microsecond=0)

    # a run is created before it starts, and durations are times since 1970
    moments = {datetime.fromisoformat(found) for found in _TIME.findall(text)}
    before = sorted(moment for moment in moments if moment < begin)
    early = {moment: timedelta(microseconds=place) for place, moment in enumerate(before)}

    def shifted(match: re.Match[str]) -> str:
        moment = datetime.fromisoformat(match[0])
        if moment.year == 1970:
            return match[0]
        return f"{_EPOCH + early.get(moment, moment - begin):%Y-%m-%d %H:%M:%S.%f}"

    return _TIME.sub(shifted, text)


def _empty(database: Path) -> None:
    """Remove all runs; flows, deployments and the rest stay."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in (*_TABLES, "artifact_collection"):
            connection.execute(f"DELETE FROM {table}")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# the year


def _simulate(
    project: Project, database: Path, endless: Path, templates: dict[str, str], api: str
) -> list[dict[str, Any]]:
    """Replay a year, day by day; what was measured at the end of each month."""
    now = datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0)
    numbers = itertools.count(1)
    replayed: Counter[str] = Counter()
    months = []
    with (
        _vacuum(project) as vacuum,
        closing(sqlite3.connect(database, timeout=60)) as kept,
        closing(sqlite3.connect(endless)) as everything,
    ):
        everything.execute("PRAGMA synchronous = OFF")
        for day in range(1, DAYS + 1):
            end = now - (DAYS - day) * DAY
            for kind, moment in _schedule(day, end - DAY):
                rows = _replay(templates[kind], next(numbers), moment)
                for table, found in rows.items():
                    _insert(kept, table, found)
                    if table not in _EVENT_TABLES:
                        _insert(everything, table, found)
                replayed[kind] += 1
            _point_collections(kept)
            kept.commit()
            everything.commit()
            vacuum(end)
            if (day % 30 == 0 and DAYS - day >= 30) or day == DAYS:
                month = {
                    "day": day,
                    "replayed": replayed.total(),
                    **_sizes(kept, database, endless, project),
                    **_times(project, api, end),
                }
                print(month, flush=True)
                months.append(month)
    return months


def _schedule(day: int, start: datetime) -> Iterator[tuple[str, datetime]]:
    """The kinds of runs of a day and their times."""
    minutes = range(0, 24 * 60, EVERY)
    with_batch = set(minutes[:: len(minutes) // BATCHES])
    for minute in minutes:
        kind = "batch" if minute in with_batch else "quiet"
        yield kind, start + timedelta(minutes=minute)
    yield "maintain", start + timedelta(hours=2, minutes=31)
    if day % 7 == 0:
        yield "train", start + timedelta(hours=4, minutes=1)


def _replay(template: str, number: int, moment: datetime) -> dict[str, list[list[Any]]]:
    text = template.replace("@@@@@@@@", f"{number:08x}")
    for minute in range(10):
        mark = f"{_EPOCH + timedelta(minutes=minute):%Y-%m-%d %H:%M}"
        text = text.replace(mark, f"{moment + timedelta(minutes=minute):%Y-%m-%d %H:%M}")
    rows: dict[str, list[list[Any]]] = json.loads(text)
    return rows


def _insert(connection: sqlite3.Connection, table: str, rows: list[list[Any]]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _point_collections(connection: sqlite3.Connection) -> None:
    """The newest artifact of each key, as the API keeps it."""
    connection.execute("DELETE FROM artifact_collection")
    connection.execute(
        "INSERT INTO artifact_collection (id, key, latest_id, type, data, description, flow_run_id)"
        " SELECT id, key, id, type, data, description, flow_run_id FROM artifact"
        " WHERE key IS NOT NULL GROUP BY key HAVING created = MAX(created)"
    )


@contextmanager
def _vacuum(project: Project) -> Iterator[Any]:
    """Prefect's vacuum with the settings of the project's server, at a time of one's choice."""
    environment = services.server_environment(project, "http://127.0.0.1:1")
    code = """
import asyncio, sys
from datetime import datetime
from zoneinfo import ZoneInfo
from prefect.server.database import provide_database_interface
from prefect.server.services import db_vacuum
from prefect.settings import get_current_settings

async def main():
    db = provide_database_interface()
    enabled = get_current_settings().server.services.db_vacuum.enabled_vacuum_types
    for line in sys.stdin:
        moment = datetime.fromisoformat(line.strip()).replace(tzinfo=ZoneInfo("UTC"))
        db_vacuum.now = lambda zone: moment
        if "flow_runs" in enabled:
            await db_vacuum.vacuum_old_flow_runs(db=db)
        if "events" in enabled:
            await db_vacuum.vacuum_events_with_retention_overrides(db=db)
            await db_vacuum.vacuum_old_events(db=db)
        if "orphans" in enabled:
            await db_vacuum.vacuum_orphaned_logs(db=db)
            await db_vacuum.vacuum_orphaned_artifacts(db=db)
            await db_vacuum.vacuum_stale_artifact_collections(db=db)
        print("done", flush=True)

asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def vacuum(moment: datetime) -> None:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{moment}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    try:
        yield vacuum
    finally:
        process.kill()
        process.wait()


# measurements


def _sizes(
    kept: sqlite3.Connection, database: Path, endless: Path, project: Project
) -> dict[str, Any]:
    count = {t: kept.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0] for t in _TABLES}
    (free,), (pages,) = (
        kept.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count")
    )
    folder = sum(p.stat().st_size for p in database.parent.rglob("*") if p.is_file())
    return {
        "runs": count["flow_run"],
        "rows": sum(count.values()),
        "megabytes": database.stat().st_size / 1e6,
        "folder": folder / 1e6,
        "free": free / pages,
        "endless": endless.stat().st_size / 1e6,
    }


def _times(project: Project, api: str, now: datetime) -> dict[str, Any]:
    before = os.times()
    spent = [_seconds(lambda: _status(project)) for _ in range(STATUS_RUNS)]
    after = os.times()
    cpu = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    database = project.build / "prefect" / "prefect.db"
    reading = [_seconds(lambda: status.read_runs(database)) for _ in range(STATUS_RUNS)]
    requests = {
        f"{path}": median(
            _seconds(lambda path=path, body=body: _post(api, path, body))
            for _ in range(REQUEST_RUNS)
        )
        for path, body in _requests(now).items()
    }
    slowest = max(requests, key=lambda path: requests[path])
    times = {"status": median(spent), "cpu": cpu / STATUS_RUNS, "reading": median(reading)}
    return {**times, "slowest": requests[slowest], "request": slowest}


def _status(project: Project) -> None:
    command = [sys.executable, "-m", "digits", "status"]
    subprocess.run(command, cwd=project.root, capture_output=True, check=True)


def _post(api: str, path: str, body: dict[str, Any]) -> None:
    httpx.post(f"{api}/{path}", json=body, timeout=60).raise_for_status()


def _requests(now: datetime) -> dict[str, dict[str, Any]]:
    """What the pages for runs, tasks, deployments, artifacts and events ask for."""
    day, week = (
        f"{now - span:%Y-%m-%dT%H:%M:%SZ}" for span in (timedelta(days=1), timedelta(days=7))
    )
    end = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    recent = {"flow_runs": {"expected_start_time": {"after_": week, "before_": end}}}
    page = {"limit": 50, "sort": "START_TIME_DESC"}
    history = {"history_start": week, "history_end": end, "history_interval_seconds": 3600}
    return {
        "flow_runs/paginate": {**page},
        "flow_runs/filter": {**recent, "limit": 200, "sort": "START_TIME_DESC"},
        "flow_runs/count": {},
        "flow_runs/history": {**recent, **history},
        "ui/flow_runs/history": {**recent, "limit": 500, "sort": "EXPECTED_START_TIME_DESC"},
        "ui/task_runs/dashboard/counts": {
            "task_runs": {"start_time": {"after_": week, "before_": end}}
        },
        "task_runs/paginate": {"limit": 50, "sort": "EXPECTED_START_TIME_DESC"},
        "deployments/paginate": {"limit": 50},
        "flows/paginate": {"limit": 50},
        "artifacts/latest/filter": {"limit": 50},
        "artifacts/filter": {"limit": 50},
        "events/filter": {"filter": {"occurred": {"since": day, "until": end}}, "limit": 50},
        "logs/filter": {"limit": 200, "sort": "TIMESTAMP_ASC", "logs": {"level": {"ge_": 20}}},
    }


def _seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# pages


def _pages(url: str, database: Path) -> dict[str, float]:
    """Seconds until each page of the UI shows what it is about; none without a chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        return {}
    with closing(sqlite3.connect(database)) as connection:
        run, name = connection.execute(
            "SELECT id, name FROM flow_run ORDER BY start_time DESC LIMIT 1"
        ).fetchone()
    shown = {
        "dashboard": "Polled",
        "runs": name,
        f"runs/flow-run/{run}": "Finished in state",
        "flows": "digits-pipeline",
        "deployments": "maintain",
        "artifacts": "digits-inbox",
        "events": "Flow run",
    }
    with tempfile.TemporaryDirectory() as profile, _browser(chromium, profile) as show:
        for path, text in shown.items():
            show(f"{url}/{path}", text)  # fills the browser's cache
        times = {
            path: median(show(f"{url}/{path}", text) for _ in range(PAGE_RUNS))
            for path, text in shown.items()
        }
    return {path.replace(run, "…"): seconds for path, seconds in times.items()}


@contextmanager
def _browser(chromium: str, profile: str) -> Iterator[Any]:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"]
    command = [chromium, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen([*command, "about:blank"], stderr=subprocess.DEVNULL)
    try:
        port = _wait(lambda: (Path(profile) / "DevToolsActivePort").read_text().split()[0])
        tabs = _wait(lambda: httpx.get(f"http://127.0.0.1:{port}/json").json())
        (tab,) = (tab for tab in tabs if tab["type"] == "page")
        with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
            numbers = itertools.count(1)

            def call(method: str, **params: object) -> dict[str, Any]:
                number = next(numbers)
                socket.send(json.dumps({"id": number, "method": method, "params": params}))
                while True:
                    answer = json.loads(socket.recv(60))
                    if answer.get("id") == number:
                        return dict(answer.get("result", {}))

            def text_shown() -> str:
                expression = "document.body ? document.body.innerText : ''"
                return str(call("Runtime.evaluate", expression=expression)["result"].get("value"))

            def show(address: str, text: str) -> float:
                call("Page.navigate", url="about:blank")
                start = time.perf_counter()
                call("Page.navigate", url=address)
                while text not in (found := text_shown()):
                    if time.perf_counter() - start > 60:
                        raise SystemExit(f"{address} doesn't show '{text}': {found[:500]}")
                    time.sleep(0.02)
                return time.perf_counter() - start

            yield show
    finally:
        process.kill()
        process.wait()


def _wait(question: Any) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError, httpx.HTTPError, IndexError):
            return question()
        time.sleep(0.1)
    raise SystemExit("chromium doesn't start")


# report


def _write(
    project: Project,
    templates: dict[str, str],
    months: list[dict[str, Any]],
    pages: dict[str, float],
    minutes: float,
) -> None:
    path = project.benchmarks.with_name(f"{REPORT}.json")
    rounded = [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in month.items()}
        for month in months
    ]
    files.write_json(path, {"months": rounded, "pages": {k: round(v, 4) for k, v in pages.items()}})
    files.write_text(path.with_suffix(".md"), _page(templates, months, pages, minutes))


def _machine() -> str:
    computer = machine()
    return f"{computer['cpu']}, {computer['cores']} cores"


def _page(
    templates: dict[str, str],
    months: list[dict[str, Any]],
    pages: dict[str, float],
    minutes: float,
) -> str:
    sizes = {
        kind: {table: len(rows) for table, rows in json.loads(text).items()}
        for kind, text in templates.items()
    }
    per_run = ", ".join(f"{sum(tables.values())} ({kind})" for kind, tables in sizes.items())
    rows = [
        (
            f"{month['day']}",
            f"{month['replayed']:,}",
            f"{month['runs']:,}",
            f"{month['rows']:,}",
            f"{month['megabytes']:.1f}",
            f"{month['folder']:.1f}",
            f"{month['free']:.0%}",
            f"{month['endless']:.1f}",
            f"{month['status']:.2f}",
            f"{month['cpu']:.2f}",
            f"{month['reading']:.3f}",
            f"{month['slowest']:.2f} {month['request']}",
        )
        for month in months
    ]
    head = (
        *("day", "runs so far", "runs kept", "rows", "database, MB", "build/prefect, MB"),
        *("free pages", "without retention, MB", "digits status, s"),
        *("its CPU time, s", "its reading of runs, s", "slowest request, s"),
    )
    shown = [(path, f"{seconds:.2f}") for path, seconds in pages.items()]
    return "\n".join(
        [
            "# A year of schedules",
            "",
            f"`make bench NAME={REPORT}`, {minutes:.0f} minutes on {_machine()}: "
            "rows of real runs, replayed in "
            f"Prefect's database every {EVERY} minutes (monitor; {BATCHES} times a day with a "
            "batch), nightly (maintain) and weekly (train). Prefect's vacuum runs once a simulated "
            "day with the settings of `make server`: runs are kept for 90 days, events for 7. "
            f"Rows of a run: {per_run}. Without retention: the same runs without their events.",
            "",
            markdown_table(head, rows, right=set(range(11))),
            "",
            f"`digits status` is a median of {STATUS_RUNS} processes, requests and pages are "
            "medians of as many.",
            "",
            *(
                [
                    "## Pages of Prefect's UI in chromium, after the year",
                    "",
                    markdown_table(("page", "s until it shows its contents"), shown, right={1}),
                    "",
                ]
                if pages
                else []
            ),
        ]
    )
