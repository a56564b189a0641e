"""A table of trials on real workers, some of which are killed; tables that are wrong."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial

import pandas as pd
import pytest

from helpers.base import files
from helpers.base.errors import RunError
from helpers.course import grid, grid_tables
from helpers.studies.trials import Trial
from tests.conftest import ROOT
from tests.unit.course import grid_rows

pytest.importorskip("distributed")
DEFAULTS = {"folds": 3, "profile": "smoke"}
SEED = 24


def trials(recipe, seeds=(0, 1)):
    found = grid_tables.product(recipe, ",".join(map(str, seeds)), DEFAULTS)
    return {grid_rows.key(trial): trial for trial in found}


def stored_in(artifacts):
    """Return what is stored, by key; hidden files are those that a killed process had begun."""
    return {path.stem: path.read_bytes() for path in (artifacts / "grid").glob("[!.]*.json")}


def remembers_nothing(dask_scheduler):
    """Return whether a scheduler has let go of all results; until then it hands them out again."""
    return not dask_scheduler.tasks


def wait_for(true, seconds=60):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_ARTIFACTS", str(folder))
        patch.setenv("PYTHONPATH", str(ROOT))
        yield folder


@pytest.fixture(scope="module")
def client(artifacts):
    """Two workers on this machine."""
    with grid.cluster("", 2) as client:
        yield client


def results_of(jobs, client, artifacts, compute=grid_rows.compute):
    results = grid.run(jobs, client, artifacts, compute, grid_rows.key)
    assert [(r["recipe"], r["fold"], r["seed"]) for r in results] == [
        (trial.recipe, trial.fold, trial.seed) for trial in jobs.values()
    ]
    return results


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_each_result_lands_once(client, artifacts, capfd):
    jobs = trials("plain", range(4))
    killed = []

    def kill():
        """Kill a worker when the third trial has begun, and another's training in the eighth."""
        for place, whose in ((2, "worker"), (7, "trainer")):
            name, *processes = wait_for(lambda place=place: grid_rows.begun()[place:])[0]
            os.kill(processes[whose == "worker"], signal.SIGKILL)
            killed.append(name)

    thread = threading.Thread(target=kill)
    thread.start()
    results = results_of(jobs, client, artifacts)
    thread.join()
    begun = Counter(name for name, *_ in grid_rows.begun())
    assert begun == {**dict.fromkeys(jobs, 1), **dict.fromkeys(killed, 2)}
    assert set(stored_in(artifacts)) == set(jobs)
    assert [r["val"]["auc"] for r in results] == [t.fold + t.seed / 10 for t in jobs.values()]
    told = capfd.readouterr().out
    assert told.count("A worker died; another one takes its trials") == 2
    assert "12 trials, 12 of them to run." in told
    assert "[12/12]" in told
    assert told.count("profile smoke") == 1, "what all share is told once"
    assert "what a training prints" not in told
    assert len({worker for *_, worker in grid_rows.begun()}) == 4


@pytest.mark.slow
def test_only_what_is_missing_is_computed(client, artifacts, capsys):
    jobs = trials("dropout")
    results = results_of(jobs, client, artifacts)
    wait_for(lambda: client.run_on_scheduler(remembers_nothing))
    (artifacts / "grid" / "dropout-2-1.json").write_text('{"val": {}')  # damaged
    assert [{**r, "seconds": 0} for r in results_of(jobs, client, artifacts)] == [
        {**r, "seconds": 0} for r in results
    ]
    begun = Counter(name for name, *_ in grid_rows.begun() if name.startswith("dropout"))
    assert begun == {**dict.fromkeys(jobs, 1), "dropout-2-1": 2}
    assert "6 trials, 1 of them to run." in capsys.readouterr().out


@pytest.mark.slow
def test_a_result_that_landed_is_not_computed_again(client, artifacts):
    """Its worker dies before, while or after it hands the result over."""
    jobs = trials("weight decay", [0])
    results = results_of(jobs, client, artifacts, grid_rows.compute_and_be_killed)
    assert not [result for result in results if "error" in result]
    begun = Counter(name for name, *_ in grid_rows.begun() if name.startswith("weight"))
    assert begun == dict.fromkeys(jobs, 1)


@pytest.mark.slow
def test_a_trial_that_fails_is_told_and_stops_no_other(client, artifacts, capsys):
    results = results_of(trials("all together"), client, artifacts, grid_rows.refuse)
    errors = {r["seed"]: r["error"] for r in results if "error" in r}
    assert errors == {0: "No image.", 1: "ZeroDivisionError: division by 0"}
    assert [r["fold"] for r in results if "error" in r] == [1, 1]
    assert "FAILED, No image." in capsys.readouterr().out
    rows = grid_tables.summary(results)
    assert set(rows["trials"]) == {6}
    assert set(rows["failed"]) == {2}
    assert "6 trials, 2 of them to run" not in capsys.readouterr().out
    assert not (artifacts / "grid" / "all-together-1-0.json").exists()


@pytest.mark.slow
def test_a_trial_that_kills_each_worker_is_given_up(client, artifacts):
    (result,) = grid.run(
        {"early-stopping-0-0": Trial("early stopping", 0, 0)},
        *(client, artifacts, grid_rows.kill_the_worker, grid_rows.key),
    )
    assert result["error"].startswith("Each worker that took it died")
    assert Counter(name for name, *_ in grid_rows.begun())["early-stopping-0-0"] == 4


@pytest.mark.slow
def test_a_worker_with_other_code_or_data_says_so(client, artifacts):
    jobs = {"of-another-version": Trial("plain", 0, 0)}
    (result,) = grid.run(jobs, client, artifacts, grid_rows.compute, grid_rows.key)
    assert result["error"].startswith("This worker has other code, data, weights or versions")


@pytest.mark.slow
def test_workers_of_another_machine_bring_their_results(artifacts, tmp_path, capsys):
    """A scheduler with one worker, which stores its results in a folder of its own."""
    dask, remote = [sys.executable, "-m", "dask"], tmp_path / "remote"
    file = tmp_path / "scheduler.json"
    remote.mkdir()
    where = {"cwd": ROOT, "stderr": subprocess.DEVNULL}
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--port", "0", "--scheduler-file", str(file), *local], **where
    )
    processes = [scheduler]
    try:
        address = wait_for(lambda: file.exists() and files.read_sealed(file))["address"]
        with grid.cluster(address, 0) as client:
            assert f"{address} has no workers yet" in capsys.readouterr().out
            worker = [*dask, "worker", address, "--nthreads", "1", *local]
            environment = {**os.environ, "COURSE_ARTIFACTS": str(remote)}
            environment["DASK_DISTRIBUTED__WORKER__DAEMON"] = "False"
            processes.append(subprocess.Popen(worker, env=environment, **where))
            jobs = trials("random erasing", [0])
            assert not [r for r in results_of(jobs, client, artifacts) if "error" in r]
        for folder in (artifacts, remote):
            assert set(jobs) <= set(stored_in(folder))
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def test_a_worker_that_may_have_no_processes_says_what_to_do(monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    result = grid._land("key", Trial("plain", 0, 0), grid_rows.compute, grid_rows.key)
    assert result == {"error": "Start Dask's workers with DASK_DISTRIBUTED__WORKER__DAEMON=False."}


@pytest.mark.slow
def test_without_a_scheduler_one_sentence(monkeypatch):
    monkeypatch.setattr(grid, "PATIENCE", 0.5)
    told = "No Dask scheduler answers at 'tcp://127.0.0.1:1'"
    with pytest.raises(RunError, match=told), grid.cluster("tcp://127.0.0.1:1", 1):
        pass


def test_what_is_no_scheduler_gives_one_sentence():
    """Such as the page of the scheduler, whose answer reads as one of unheard-of length."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RunError, match="No Dask scheduler"), grid.cluster(address, 1):
            pass


def test_without_dask_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RunError, match=r"pip install 'wbc-cancer-course\[grid\]'"):
        grid.cluster("", 1).__enter__()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("recipe,fold\nplain,0\n", "has no column 'seed'"),
        (
            "recipe,fold,seed,colour\nplain,0,1,red\n",
            "has a column 'colour'",
        ),
        ("recipe;fold;seed\nplain;0;1\n", "no column 'recipe', only 'recipe;fold;seed'"),
        ("recipe,fold,seed\n", "has no rows"),
        ("recipe,fold,seed\nplain,0,1\nmagic,0,1\n", "line 3: There is no recipe 'magic'"),
        ("recipe,fold,seed\nplain,3,1\n", "line 2: fold is 3, but must be from 0 to 2"),
        (
            "recipe,fold,seed\nplain,first,1\n",
            "line 2: fold is 'first', but must be a number",
        ),
        ("recipe,fold,seed\nplain,0,-1\n", "line 2: SEED is -1"),
        ("recipe,fold,seed\nplain,0,\n", "line 2: seed is empty"),
        ("recipe,fold,seed\nplain,0,1\nplain,1,1\nplain,0,1\n", "line 4: the same as .*line 2"),
        ("recipe,fold,seed\n\n\nplain,0,1\n\nmagic,0,1\n", "line 6: There is no recipe 'magic'"),
        ("recipe,fold,seed,folds\nplain,0,1,2\n", "folds is 2, but must be 3 or more"),
        ("recipe,fold,seed,epochs\nplain,0,1,0\n", "line 2: epochs is 0, but must be 1 or more"),
        ("recipe,fold,seed,epochs\nplain,0,1,-1\n", "line 2: epochs is -1, but must be 1 or more"),
        ("recipe,fold,seed,rate\nplain,0,1,nan\n", "rate is nan, but must be above 0"),
        ("recipe,fold,seed,rate\nvgg16_frozen,0,1,0.1\n", "vgg16_frozen sets rate by itself"),
        ("recipe,fold,seed,optimiser\nplain,0,1,lion\n", "optimiser.* 'lion'.* adam, rmsprop, sgd"),
        ("recipe,fold,seed,dataset\nplain,0,1,cnmc\n", "'cnmc' needs data_dir"),
        ("recipe,fold,seed,profile\nplain,0,1,huge\n", "PROFILE is 'huge'"),
        ("recipe,fold,seed,rate\nplain,0,1,nan", "last line must end"),
    ],
)
def test_a_wrong_table_gives_one_sentence(tmp_path, text, told):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(RunError, match=told) as error:
        grid_tables.read_table(path, DEFAULTS)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_with_settings_and_gaps(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("seed, recipe, fold,rate,batch\n1, plain,2,0.01,\n1, plain,2,,16\n")
    assert list(grid_tables.read_table(path, DEFAULTS)) == [
        Trial("plain", 2, 1, 3, profile="smoke", rate=0.01),
        Trial("plain", 2, 1, 3, profile="smoke", batch=16),
    ]


@pytest.mark.parametrize(
    ("recipes", "seeds", "told"),
    [
        ("plain,magic", "0", "There is no recipe 'magic'"),
        ("plain", "0,x", "seed is 'x', but must be a number"),
        ("plain,plain", "0", "--recipes has 'plain' more than once"),
        ("plain", "0, 1,0", "--seeds has '0' more than once"),
        ("plain", "", "seed is '', but"),
    ],
)
def test_wrong_recipes_or_seeds_give_one_sentence(recipes, seeds, told):
    with pytest.raises(RunError, match=told):
        grid_tables.product(recipes, seeds, DEFAULTS)


@pytest.mark.parametrize("folds", [0, -1])
def test_no_folds_give_one_sentence(folds):
    with pytest.raises(RunError, match=f"folds is {folds}, but must be 3 or more"):
        grid_tables.product("plain", "0", {**DEFAULTS, "folds": folds})


def test_the_summary_separates_seeds_and_folds():
    values = {(0, 0): 0.6, (0, 1): 0.8, (1, 0): 0.5, (1, 1): 0.9}
    results = [
        {
            **vars(Trial("plain", fold, seed)),
            "val": {"auc": value, "balanced_accuracy": math.nan},
            "test": {"auc": 0.1, "balanced_accuracy": 0.2},
        }
        for (fold, seed), value in values.items()
    ]
    rows = grid_tables.summary(results)
    assert list(rows["figure"]) == ["val auc", "val balanced_accuracy"]
    row = rows.iloc[0]
    assert row["mean"] == pytest.approx(0.7)
    assert row["sd of seeds"] == pytest.approx(math.sqrt((0.02 + 0.08) / 2))  # within folds
    assert row["sd of folds"] == pytest.approx(0)  # both means are 0.7
    assert pd.isna(rows.iloc[1]["mean"])
    assert "test auc" not in set(rows["figure"])
    assert "test auc" in set(grid_tables.summary(results, test=True)["figure"])
    assert pd.isna(grid_tables.summary(results[:1])["sd of seeds"][0])


def command(tmp_path, *words):
    environment = {**os.environ, "COURSE_ARTIFACTS": str(tmp_path / "artifacts")}
    folders = ["--build", str(tmp_path / "build"), "--root", str(ROOT)]
    return subprocess.Popen(
        [sys.executable, "-m", "helpers", "run", *words, "--profile", "smoke", *folders],
        **{"cwd": ROOT, "env": environment, "text": True, "start_new_session": True},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A process in the background ignores Ctrl-C, and so do its children: not this one.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--recipes", "plain"], "need --grid"),
        (["--grid"], "either --table or --recipes"),
        (["--grid", "--table", "missing.csv"], "missing.csv: It cannot be read"),
        (["--grid", "--table", "missing.csv", "--seeds", "5"], "a table has its own column: seed"),
        (["--grid", "--recipes", "plain", "--force"], "are for chapters, not for --grid"),
        (["--grid", "--recipes", "plain", "--jobs", "0"], "--jobs is 0"),
    ],
)
def test_the_command_says_in_a_sentence_what_is_wrong(tmp_path, words, told):
    done = command(tmp_path, *words)
    assert told in done.communicate(timeout=60)[1]
    assert done.returncode == 2


@pytest.mark.slow
def test_more_folds_than_people_are_told_with_the_line_before_any_trial_runs(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("recipe,fold,seed,folds\nplain,0,1,5\n\nplain,0,0,17\n")
    told, errors = command(tmp_path, "--grid", "--table", str(table)).communicate(timeout=120)
    assert f"{table}, line 4: folds is 17, but the people fill only 1" in errors
    assert "take fewer folds" in errors
    assert "to run" not in told
    assert len(errors.splitlines()) == 1


@pytest.mark.slow
def test_trainings_stopped_by_hand_go_on_and_a_worker_may_be_killed(tmp_path):
    words = ["--grid", "--recipes", "plain", "--folds", "8", "--seeds", "0", "--jobs", "2"]
    first = command(tmp_path, *words)
    for line in first.stdout:
        if line.startswith("[1/8]"):
            break
    os.killpg(first.pid, signal.SIGINT)  # Ctrl-C reaches all processes of the terminal
    _, told = first.communicate(timeout=240)
    assert first.returncode == 130, told
    assert told.strip() == "Stopped. The next run continues from here."
    stored = stored_in(tmp_path / "artifacts")
    assert 1 <= len(stored) < 8

    second = command(tmp_path, *words)
    line = next(line for line in second.stdout if "to run" in line)  # after a note on the folds
    assert line == f"8 trials, {8 - len(stored)} of them to run.\n"
    time.sleep(1)
    workers = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(second.pid)], capture_output=True, text=True
    ).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    told, errors = second.communicate(timeout=240)
    assert second.returncode == 0, errors
    assert "A worker died" in told
    assert re.search(r"plain +8 +0 +val auc +\d\.\d{3}", told)
    assert "test auc" not in told
    kept = stored_in(tmp_path / "artifacts")
    assert len(kept) == 8
    assert stored.items() <= kept.items()
    assert not [name for name in pd.read_csv(tmp_path / "build/grid.csv") if "test" in name]
