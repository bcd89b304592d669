"""Each launcher for real: a job that fails, one that is killed, and the same command again."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import TINY

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="finds who trains by the run's lock")

# enough epochs that a run can be killed between its first and its last
WORDS = (*TINY, "dataset.train_size=640", "trainer.max_epochs=9")
_PATIENCE = 300  # seconds
_SOON = 20  # seconds; an idle worker of joblib would wait for five minutes


class Sweep:
    """A sweep in a process of its own."""

    def __init__(self, launcher, folder, environment, *more):
        self.folder = folder / "sweep"
        self.folder.mkdir(exist_ok=True)
        words = [sys.executable, "-m", "caelab.train", "-m", *WORDS, f"hydra/launcher={launcher}", *more]
        self.process = subprocess.Popen(
            words,
            cwd=self.folder,
            env={"OMP_NUM_THREADS": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, patience=_PATIENCE):
        """Exit status, stdout and stderr."""
        out, err = self.process.communicate(timeout=patience)
        return self.process.returncode, out, err

    def run_dir(self, seed):
        (found,) = self.folder.glob(f"multirun/runs/shapes/*-s{seed}-*")
        return found

    def record(self, seed):
        return json.loads((self.run_dir(seed) / "result.json").read_text())

    def kill(self, seed, after=None, by=signal.SIGKILL):
        """Signal the process that trains the run, once it has finished an epoch; return its number."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for last in self.folder.glob(f"multirun/runs/shapes/*-s{seed}-*/checkpoints/last.ckpt"):
                holder = _holder(last.parents[1] / ".lock")
                if holder not in (None, after):
                    os.kill(holder, by)
                    assert not (last.parents[1] / "result.json").exists()
                    return holder
            time.sleep(0.01)
        self.process.kill()
        raise AssertionError("the run did not get to its second epoch")


def _holder(lock):
    """Number of the process that holds a file lock."""
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if "FLOCK" in words and "->" not in words and words[-3].endswith(f":{lock.stat().st_ino}"):
            return int(words[-4])
    return None


def _undisturbed(train):
    """Test PSNR of the run of seed 1, without any launcher."""
    return train(*WORDS, "seed=1").record["metrics"]["test/psnr"]


def _went_on(sweep, seed):
    return (sweep.run_dir(seed) / "train.log").read_text().count("Restored all states from the checkpoint")


@pytest.mark.slow
def test_joblib_keeps_every_result_when_a_job_dies_twice_and_goes_on(tmp_path, environment, train):
    sweep = Sweep("joblib", tmp_path, environment, "seed=0,1,-1", "hydra.launcher.n_jobs=2")
    sweep.kill(1, after=sweep.kill(1))
    status, out, err = sweep.end()
    assert status == 1
    assert "seed=1: its process was killed by SIGKILL 2 times; the same command goes on" in err
    assert "2 of 3 runs failed" in err
    assert "[1 done, 2 failed, 0 to go]" in out
    assert "seed=0 finished" in out
    assert "failed: seed=-1: must be within 0..4294967295" in out
    assert sweep.record(0)["status"] == "finished"
    assert not list(sweep.folder.glob("multirun/.sweep-*"))
    stamp = (sweep.run_dir(0) / "result.json").stat().st_mtime_ns
    again = Sweep("joblib", tmp_path, environment, "seed=0,1,-1", "hydra.launcher.n_jobs=1")
    status, out, err = again.end()
    assert status == 1
    assert "1 of 3 runs failed" in err
    assert "[2 done, 1 failed, 0 to go]" in out
    assert (again.run_dir(0) / "result.json").stat().st_mtime_ns == stamp
    assert _went_on(again, 1) >= 1
    assert again.record(1)["metrics"]["test/psnr"] == pytest.approx(_undisturbed(train), rel=1e-3)
    assert again.record(1)["environment"]["threads"] == 1


def _processes(group):
    """Processes of a sweep, which leads a group of its own, but those that are only waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
def test_the_workers_of_a_killed_joblib_sweep_end_with_it(tmp_path, environment):
    sweep = Sweep("joblib", tmp_path, environment, "seed=0,1", "hydra.launcher.n_jobs=3")
    deadline = time.monotonic() + _PATIENCE
    while not list(sweep.folder.glob("multirun/runs/shapes/*/checkpoints/last.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(_processes(sweep.process.pid)) > 3  # the sweep, its workers, one of them idle, and their jobs
    sweep.process.kill()
    sweep.process.wait()
    deadline = time.monotonic() + _SOON
    while left := _processes(sweep.process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    sweep.end()


def _mends_by_itself(launcher, tmp_path, environment, train):
    sweep = Sweep(launcher, tmp_path, environment, "seed=1,-1")
    sweep.kill(1)
    status, out, err = sweep.end()
    assert status == 1
    assert "1 of 2 runs failed" in err
    assert "[1 done, 1 failed, 0 to go]" in out
    assert "failed: seed=-1: must be within 0..4294967295" in out
    assert _went_on(sweep, 1) == 1
    assert sweep.record(1)["metrics"]["test/psnr"] == pytest.approx(_undisturbed(train), rel=1e-3)


@pytest.mark.slow
def test_submitit_launches_a_killed_job_again(tmp_path, environment, train):
    pytest.importorskip("submitit", reason="needs caelab[slurm]")
    _mends_by_itself("submitit_local", tmp_path, environment, train)


@pytest.mark.slow
def test_ray_launches_a_killed_job_again(tmp_path, environment, train):
    pytest.importorskip("ray", reason="needs caelab[ray]")
    _mends_by_itself("ray", tmp_path, environment, train)


# What submitit calls of SLURM, on this machine: sbatch starts a job again that was requeued while it ran.
SLURM = {
    "sbatch": """
import os, pathlib, subprocess, sys
job, requeued = str(os.getpid()), pathlib.Path(os.environ["QUEUE"], str(os.getpid()))
names = ("SLURM_JOB_NUM_NODES", "SLURM_NTASKS"), ("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID")
places = {name: str(1 - i) for i in (0, 1) for name in names[i]}
print("Submitted batch job", job, flush=True)
if os.fork():
    os._exit(0)
nowhere = os.open(os.devnull, os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(nowhere, stream)
while True:
    requeued.unlink(missing_ok=True)
    subprocess.run(["bash", sys.argv[-1]], env=os.environ | places | {"SLURM_JOB_ID": job})
    if not requeued.exists():
        break
""",
    "srun": "import os, sys; words = sys.argv[sys.argv.index(sys.executable):]; os.execv(words[0], words)",
    "scontrol": "import os, pathlib, sys; pathlib.Path(os.environ['QUEUE'], sys.argv[-1]).touch()",
    "sacct": "import sys; print('JobID|State|NodeList', sys.argv[-1] + '|RUNNING|here', sep=chr(10))",
}


@pytest.mark.slow
def test_slurm_requeues_a_job_whose_time_is_up_and_it_goes_on(tmp_path, environment, train):
    pytest.importorskip("submitit", reason="needs caelab[slurm]")
    for name, text in SLURM.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!{sys.executable}\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    path = {"PATH": f"{tmp_path / 'bin'}:{environment['PATH']}", "QUEUE": str(tmp_path)}
    sweep = Sweep("submitit_slurm", tmp_path, environment | path, "seed=1", "hydra.launcher.account=lab")
    sweep.kill(1, by=signal.SIGUSR2)
    status, out, err = sweep.end()
    assert (status, err) == (0, "")
    assert "[1 done, 0 failed, 0 to go]" in out
    assert _went_on(sweep, 1) == 1
    assert sweep.record(1)["metrics"]["test/psnr"] == pytest.approx(_undisturbed(train), rel=1e-3)
    (script,) = sweep.folder.glob("multirun/.submitit/*/*_submission.sh")
    asked = script.read_text()
    for line in ("--signal=USR2@60", "--time=240", "--account=lab", "--cpus-per-task=1"):
        assert f"#SBATCH {line}" in asked


def _slurm_is_there():
    return (
        shutil.which("sinfo") is not None and subprocess.run(["sinfo"], capture_output=True).returncode == 0
    )


def _real(number, word):
    """What sacct says of that job."""
    command = ["sacct", "-X", "-n", "-P", "-D", "-j", str(number), "-o", word]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _jobs(sweep):
    """Numbers of the jobs that the sweep has submitted, in their order."""
    folders = sweep.folder.glob("multirun/.submitit/*")
    return sorted(int(path.name) for path in folders if path.name.isdecimal())


@pytest.fixture
def unlimited(environment):
    """Environment in which nobody has set the number of threads."""
    return {key: value for key, value in environment.items() if key != "OMP_NUM_THREADS"} | {
        "OMP_NUM_THREADS": ""
    }


@pytest.mark.slurm
@pytest.mark.skipif(not _slurm_is_there(), reason="needs a SLURM; tests/tools/slurm.sh starts one")
class TestRealSlurm:
    """What tests/tools/slurm.sh runs, where the tests above have a stand-in for SLURM."""

    def test_a_killed_job_is_launched_again_and_has_the_threads_it_was_given(
        self, tmp_path, unlimited, train
    ):
        sweep = Sweep("submitit_slurm", tmp_path, unlimited, "seed=1,-1", "hydra.launcher.cpus_per_task=1")
        sweep.kill(1)
        status, out, err = sweep.end()
        assert (status, "1 of 2 runs failed" in err) == (1, True)
        assert "[1 done, 1 failed, 0 to go]" in out
        assert _went_on(sweep, 1) == 1
        assert sweep.record(1)["environment"]["threads"] == 1
        assert sweep.record(1)["metrics"]["test/psnr"] == pytest.approx(_undisturbed(train), rel=1e-3)

    def test_a_job_whose_time_is_up_is_requeued_and_goes_on(self, tmp_path, environment):
        limit = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=10")
        sweep = Sweep("submitit_slurm", tmp_path, environment, "seed=1", "trainer.max_epochs=60", *limit)
        status, out, err = sweep.end(patience=900)  # SLURM waits for minutes before it starts a job again
        assert status == 0, out + err
        (job,) = _jobs(sweep)
        assert _went_on(sweep, 1) == len(_real(job, "State")) - 1 >= 1
        assert sweep.record(1)["time"]["epochs"] == 60

    def test_a_job_that_its_owner_cancels_is_a_failure_and_not_launched_again(self, tmp_path, environment):
        sweep = Sweep("submitit_slurm", tmp_path, environment, "seed=1", "trainer.max_epochs=3000")
        deadline = time.monotonic() + _PATIENCE
        while not list(sweep.folder.glob("multirun/runs/shapes/*/checkpoints/last.ckpt")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (job,) = _jobs(sweep)
        subprocess.run(["scancel", str(job)], check=True)
        status, out, err = sweep.end()
        assert status == 1
        assert "1 of 1 runs failed" in err
        assert "CANCELLED" in out + err
        assert _jobs(sweep) == [job]
