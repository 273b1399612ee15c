"""What a runtime loads, as files of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from weigh.choice import UsageError
from weigh.model.artefact import artefact
from weigh.model.write import whole_folder
from weigh.serve.runtime import Runtime, RuntimeTask
from weigh.serve.runtime._bench import RuntimeBench


def write_files(task: RuntimeTask, option: Runtime, to: Path, overwrite: bool) -> Path:
    """What `convert` does."""
    if missing := option.needs.missing():
        raise UsageError(f"{option.spec} cannot run here: {'; '.join(missing)}")
    bench = RuntimeBench(task, 0)
    made = artefact(option, bench.source, bench.calibration)
    if made.path == bench.source.path:
        raise UsageError(f"{option.spec} runs {task.model} as it is: there is nothing to write")
    home = made.path.parent
    with whole_folder(to, task, overwrite) as folder:
        for file in made.files:
            shutil.copyfile(file, folder / file.relative_to(home))
    return to / made.path.name
