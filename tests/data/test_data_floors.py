"""Floors that are kept with the data: what is found again, and what is measured anew."""

import json

from caelab.data.floors import keep, kept


def test_what_is_kept_is_found_by_all_that_it_depends_on(tmp_path):
    assert kept(tmp_path, "pca, 7") is None
    keep(tmp_path, "pca, 7", {"psnr": 21.5})
    assert kept(tmp_path, "pca, 7") == {"psnr": 21.5}
    assert kept(tmp_path, "pca, 8") is None


def test_what_cannot_be_read_is_measured_anew(tmp_path):
    keep(tmp_path, "pca", {"psnr": 21.5})
    (file,) = (tmp_path / "floors").iterdir()
    for text in ("", json.dumps([21.5]), "{"):
        file.write_text(text)
        assert kept(tmp_path, "pca") is None


def test_a_folder_that_takes_no_files_is_named(tmp_path, capsys):
    (tmp_path / "floors").write_text("in the way")
    keep(tmp_path, "pca", {"psnr": 21.5})
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith(f"{tmp_path / 'floors'}: File exists; ")
    assert "are not kept" in line
