"""Checkpoints as files: read as they were written, or refused."""

import io
import random
import zipfile

import pytest
import torch

from distill.files.checkpoint import BEFORE, LAST, newest, read_checkpoint, write_checkpoint

CONTENT = {"state_dict": {"weight": torch.arange(6.0)}, "epoch": 3, "loops": {"done": [1, 2]}}


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def path(tmp_path):
    write_checkpoint(tmp_path / LAST, CONTENT)
    return tmp_path / LAST


def test_it_is_read_as_it_was_written(path):
    """What comes back is what went in, and `torch.load` reads it as well."""
    for content in (read_checkpoint(path), torch.load(path, weights_only=True)):
        assert torch.equal(content["state_dict"]["weight"], CONTENT["state_dict"]["weight"])
        assert content["loops"] == CONTENT["loops"]


def test_each_flipped_bit_and_each_cut_is_noticed_or_harmless(path):
    """Of 1,000 damaged files none is read as anything else than what was written, while `torch.load` does so."""
    whole, noticed = path.read_bytes(), 0
    draw = random.Random(0)
    for number in range(1000):
        damaged = bytearray(whole)
        if number % 4:
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        else:
            del damaged[draw.randrange(len(whole)) :]
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except ValueError:
            noticed += 1
        else:
            assert torch.equal(found.pop("state_dict")["weight"], CONTENT["state_dict"]["weight"])
            assert found == {name: value for name, value in CONTENT.items() if name != "state_dict"}
    assert noticed > 600  # the rest is padding, of which so small an archive is full


def test_a_changed_weight_is_named(path):
    """What an archive says of its parts is looked at."""
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(6.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the checksum of its .*data/0 is wrong"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_unread(path, zipped):
    """It makes no file, in an archive or bare."""
    made = path.with_name("made")
    torch.save({"state_dict": Bomb(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="is no checkpoint of this project"):
        read_checkpoint(path)
    assert not made.exists()


def test_what_is_no_checkpoint_is_refused(path):
    """A list, another archive, nothing, a folder."""
    for content in ([1, 2], torch.zeros(3)):
        torch.save(content, path)
        with pytest.raises(ValueError, match="it holds a"):
            read_checkpoint(path)
    other = io.BytesIO()
    zipfile.ZipFile(other, "w").close()
    for content in (other.getvalue(), b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no checkpoint"):
            read_checkpoint(path)
    with pytest.raises(ValueError, match=r"Is a directory"):
        read_checkpoint(path.parent)


def test_the_newest_whole_one_is_found(path):
    """Where the newest is damaged, the one before it is taken; where none is whole, none."""
    assert newest(path.parent) == (path, [])
    write_checkpoint(path.with_name(BEFORE), CONTENT)
    path.write_bytes(path.read_bytes()[:-5])
    found, (reason,) = newest(path.parent)
    assert found.name == BEFORE
    assert LAST in reason
    found.write_bytes(b"")
    found, reasons = newest(path.parent)
    assert found is None
    assert len(reasons) == 2
    assert newest(path.parent / "nowhere") == (None, [])
