"""How a mistake is told: nearest name, one line, exit status."""

import os
import subprocess
import sys

import pytest

from caelab import terminal
from caelab.errors import UserError


def test_nearest_name_or_all_names():
    assert terminal.nearest("improvd", ["base", "improved"]) == "; did you mean 'improved'?"
    assert terminal.nearest("xyz", ["base", "adam"]) == "; known: adam, base"
    assert terminal.nearest("xyz", []) == ""


def test_os_errors_name_the_file():
    assert terminal.explain(PermissionError(13, "Permission denied", "/x/y")) == "/x/y: Permission denied"
    assert terminal.explain(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"
    assert terminal.explain(RuntimeError("a bug")) is None


def test_a_mistake_is_one_line_and_exit_status_1(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended, terminal.told():
        raise UserError("seed=-1: must be within 0..4294967295")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "caelab: seed=-1: must be within 0..4294967295\n"


def test_a_program_may_have_put_its_own_writer_in_place_of_stdout():
    code = """
import sys

class Tee:
    def write(self, text):
        return sys.__stdout__.write(text.upper())

    def flush(self):
        sys.__stdout__.flush()

sys.stdout = Tee()
from caelab import terminal
terminal.say("said")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "SAID\n")


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_closed_pipe_ends_it_without_a_word(size: int):
    code = f"from caelab import terminal\nwith terminal.told():\n    print('x' * {size})"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_pipe_that_somebody_else_has_closed_is_told():
    code = "from caelab import terminal\nwith terminal.told():\n    raise BrokenPipeError(32, 'Broken pipe')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "caelab: [Errno 32] Broken pipe\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_takes_what_is_said_in_silence(closed):
    code = "from caelab import terminal; terminal.say('told'); terminal.error('wrong')"
    line = f'"{sys.executable}" -c "{code}" {closed}'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    said = ("told\n" if ">&-" not in closed.split() else "", "" if "2>&-" in closed else "caelab: wrong\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, *said)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), terminal.told():
        raise ZeroDivisionError


def test_numbers_of_a_table_stand_right_of_what_they_are_of():
    made = terminal.table("Title", "of", "PSNR (dB)", "SSIM", caption="more")
    assert [(one.header, one.justify) for one in made.columns] == [
        ("of", "left"),
        ("PSNR (dB)", "right"),
        ("SSIM", "right"),
    ]
    assert (made.title, made.title_justify, made.caption, made.caption_justify) == (
        "Title",
        "left",
        "more",
        "left",
    )
