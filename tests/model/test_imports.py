"""What libraries say while they are imported is not the user's concern; what is wrong is."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from weigh.model.imports import TALKERS, hushed


@pytest.mark.slow
def test_a_model_is_made_and_opened_without_a_word_of_libraries(tmp_path):
    code = f"""
from pathlib import Path
from weigh.model.module import load_module, load_tokenizer
from weigh.model.source import open_source
from weigh.model.toy import write_language_toy
source = open_source(write_language_toy(Path({str(tmp_path)!r}), layers=1).model)
load_tokenizer(source), load_module(source)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_errors_are_shown_and_levels_put_back(caplog):
    loggers = [logging.getLogger(name) for name in TALKERS]
    before = [one.level for one in loggers]
    with hushed():
        logging.getLogger("torchao.deeper").warning("of another machine")
        logging.getLogger("torchao.deeper").error("it is broken")
    assert [one.message for one in caplog.records] == ["it is broken"]
    assert [one.level for one in loggers] == before
