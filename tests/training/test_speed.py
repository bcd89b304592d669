"""What a speed setting picks, that it reaches the run, and that it leaves figures and checkpoints alone."""

import platform
import resource
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
from test_run import GOLDEN

from caelab.errors import UserError
from caelab.training import speed
from caelab.training.speed import Speed, choose

BEST = "checkpoints/best.ckpt"
ADAM = partial(torch.optim.Adam, lr=0.1)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_bfloat16_only_where_the_device_multiplies_it(monkeypatch, there):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: there)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: there)
    expected = Speed("bf16-mixed" if there else "32-true", channels_last=True, fused=True)
    assert choose("auto", False, "32-true", CPU, ADAM) == expected
    assert choose("auto", False, "32-true", CUDA, ADAM) == expected
    assert choose("auto", False, "16-mixed", CUDA, ADAM).precision == "16-mixed"  # asked for
    assert choose("auto", False, "32-true", torch.device("mps"), ADAM) == Speed("32-true")


def test_exact_is_plain():
    assert choose("exact", False, "32-true", CPU, ADAM) == Speed("32-true")
    assert str(choose("exact", False, "32-true", CPU, ADAM)) == "32-true"
    assert str(Speed("bf16-mixed", True, True, True)) == "bf16-mixed, channels-last, fused, compiled"


@pytest.mark.parametrize("there", [True, False])
def test_a_run_says_that_its_precision_is_only_emulated(monkeypatch, train, there):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: there)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    line = "trainer.precision=bf16-mixed: cpu emulates bfloat16, many times slower than 32-true"
    assert (line in train("trainer.precision=bf16-mixed", "trainer.max_epochs=1").out) is not there
    assert "emulates" not in train("trainer.max_epochs=1").out


@pytest.mark.parametrize("setting", ["exact", "auto"])
def test_what_is_compiled_for_a_gpu_is_replayed_as_graphs(monkeypatch, setting):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(speed, "find_spec", lambda name: name)
    monkeypatch.setenv("CC", sys.executable)
    assert choose(setting, True, "32-true", CUDA, ADAM).graphs
    assert str(choose(setting, True, "32-true", CUDA, ADAM)).endswith("compiled, CUDA graphs")
    assert not choose(setting, False, "32-true", CUDA, ADAM).graphs
    assert not choose(setting, True, "32-true", CPU, ADAM).graphs
    taken = []
    monkeypatch.setattr(torch, "compile", lambda function, **settings: taken.append(settings) or function)
    choose(setting, True, "32-true", CUDA, ADAM).compiled(len)
    choose(setting, False, "32-true", CUDA, ADAM).compiled(len)
    assert taken == [{"dynamic": False, "mode": "reduce-overhead"}]


@pytest.mark.parametrize("there", ["a compiler", "none"])
def test_auto_compiles_long_runs_on_a_gpu_that_can(monkeypatch, there):
    monkeypatch.setattr(speed, "find_spec", lambda name: name)
    monkeypatch.setenv("CC", sys.executable if there == "a compiler" else "no-such-compiler")
    plain = Speed("32-true")
    longer = Speed("32-true", compile=True, graphs=True) if there == "a compiler" else plain
    assert plain.over(100_000, CUDA) == longer
    assert plain.over(100, CUDA) == plain
    assert plain.over(100_000, CPU) == plain
    if there == "none":
        with pytest.raises(UserError, match="needs the C compiler no-such-compiler on a GPU; install it"):
            choose("exact", True, "32-true", CUDA, ADAM)
        monkeypatch.setattr(speed, "find_spec", lambda name: None)
        with pytest.raises(UserError, match="needs the package triton on a GPU"):
            choose("exact", True, "32-true", CUDA, ADAM)


def test_a_run_says_how_long_it_is(monkeypatch, train):
    asked = []
    monkeypatch.setattr(Speed, "over", lambda self, steps, device: asked.append((steps, device)) or self)
    long = ("trainer.max_epochs=3", "dataset.train_size=90", "dataset.batch_size=32")
    assert train(*long, "speed=auto").status == 0
    assert train(*long).status == 0  # exact
    assert asked == [(8, CPU)]  # 3 * 90 / 32


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "AdamW"])
def test_the_step_is_fused_where_the_optimizer_can(name):
    kind = getattr(torch.optim, name)
    can = "fused" in kind([torch.nn.Parameter(torch.ones(3))], lr=0.1).defaults
    assert choose("auto", False, "32-true", CPU, partial(kind, lr=0.1)).fused is can
    if can:
        assert not choose("auto", False, "32-true", CPU, partial(kind, lr=0.1, fused=False)).fused


def test_clipped_gradients_are_not_fused(train):
    # Lightning's mixed precision refuses the two together
    settings = ("speed=auto", "trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    assert train(*settings).record["environment"]["speed"] == "bf16-mixed, channels-last, fused"
    (record,) = [
        r
        for r in train(*settings, "+trainer.gradient_clip_val=0.5").records
        if r["config"]["trainer"]["gradient_clip_val"]
    ]
    assert (record["status"], record["environment"]["speed"]) == ("finished", "bf16-mixed, channels-last")


@pytest.mark.parametrize(("optimizer", "picked"), [("adam", ", fused"), ("rmsprop", "")])
def test_the_record_says_fused_only_where_it_is_so(train, optimizer, picked):
    answer = train(
        "speed=auto", f"optimizer={optimizer}", "trainer.precision=64-true", "trainer.max_epochs=1"
    )
    assert answer.record["environment"]["speed"] == f"64-true, channels-last{picked}"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives pages back and forth")
def test_kept_memory_needs_no_new_pages():
    """Without it they are fetched from the system again every time: all, or now and then a fifth."""
    script = """if True:
        import resource, torch
        from caelab.training import speed
        speed.keep_memory()
        def work():
            return [torch.ones(1_000_000) for _ in range(20)]
        work()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            work()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    faults = int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    pages = 5 * 20 * 1_000_000 * 4 / resource.getpagesize()
    assert faults < pages / 10


def test_auto_trains_to_the_same_figures(train):
    answer = train("optimizer.lr=1e-2", "trainer.max_epochs=8", "speed=auto", "trainer.precision=64-true")
    assert "speed=auto: 64-true, channels-last, fused" in answer.out
    assert answer.record["environment"]["speed"] == "64-true, channels-last, fused"
    for name, value in GOLDEN.items():
        assert answer.record["metrics"][name] == pytest.approx(value, rel=1e-3)


def test_auto_goes_on_bit_for_bit_after_a_failure(train, killed):
    long = ("speed=auto", "trainer.max_epochs=4")
    whole = train(*long, "hydra.run.dir=multirun/whole").record["metrics"]
    killed(*long, after=2)
    again = train(*long)
    assert "going on after epoch 2" in again.out
    assert [record["metrics"] for record in again.records] == [whole, whole]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_a_compiled_run_has_the_figures_and_the_keys_of_an_eager_one(train):
    plain = train("trainer.max_epochs=1")
    (record,) = [r for r in train("trainer.max_epochs=1", "compile=true").records if r != plain.record]
    assert record["environment"]["speed"] == "32-true, compiled"
    assert record["metrics"]["test/psnr"] == pytest.approx(plain.record["metrics"]["test/psnr"], abs=1e-3)
    assert record["fingerprint"] != plain.record["fingerprint"]
    (other,) = [path for path in plain.output.rglob("best.ckpt") if plain.run_dir not in path.parents]
    keys = [torch.load(p, weights_only=True)["state_dict"].keys() for p in (other, plain.run_dir / BEST)]
    assert keys[0] == keys[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_have_the_figures_of_an_eager_run_on_a_gpu(train):
    # 90 images in batches of 32: the last one is smaller, so is a graph of its own
    long = ("trainer.max_epochs=3", "trainer.accelerator=gpu", "dataset.train_size=90")
    eager = train(*long).record["metrics"]
    (record,) = [r for r in train(*long, "compile=true").records if r["config"]["compile"]]
    assert record["environment"]["speed"] == "32-true, compiled, CUDA graphs"
    assert record["metrics"]["test/psnr"] == pytest.approx(eager["test/psnr"], abs=0.05)


def test_mistakes(train, monkeypatch):
    answer = train("speed=fast")
    assert answer.status == 1
    assert answer.err == "caelab: speed=fast: there is no such speed; known: auto, exact\n"
    answer = train("speed=exakt")
    assert "did you mean 'exact'?" in answer.err
    monkeypatch.setenv("CXX", "no-such-compiler")
    answer = train("compile=true")
    assert answer.status == 1
    assert answer.err.startswith("caelab: compile=true: needs the C++ compiler no-such-compiler")
    assert answer.err.count("\n") == 1
    answer = train("compile=3")
    assert "compile=3: expected true or false, as in compile=false" in answer.err


def test_the_defaults_leave_no_trace_in_the_fingerprint(trained):
    """Records that are older than these keys are still found."""
    plain = trained().record
    import hashlib
    import json

    config = plain["config"]
    for key in (
        "paths",
        "logger",
        "force",
        "speed",
        "compile",
        "flip",
        "ema",
        "scheduler",
        "corruption",
        "augment",
    ):
        del config[key]
    del config["bottleneck"], config["metrics"], config["select"]
    del config["callbacks"], config["from"], config["keep"]
    named = ("_target_", "max_epochs", "accelerator", "devices", "precision")
    config["trainer"] = {key: config["trainer"][key] for key in named}
    for key in ("halvings", "padding", "downsample"):
        del config["model"][key]
    config["dataset"]["data_dir"] = "data"
    canonical = json.dumps([1, config], sort_keys=True)
    assert plain["fingerprint"] == hashlib.sha256(canonical.encode()).hexdigest()
