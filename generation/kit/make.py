"""Make a set of stimuli, or go on with one: person by person, by one process or several."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from configs.cli import UserError
from engine.storage.lock import FolderLock
from generation.dataset.work import WORK, open_work, stop_at_ctrl_c, wait
from generation.draw import FaceModel
from generation.kit.files import MANIFEST, write_stimuli
from generation.kit.opinions import Opinions
from generation.kit.order import StimulusRequest
from generation.kit.person import draw_person
from generation.kit.seeds import person_seeds
from generation.kit.stored import person_path, store_person

if TYPE_CHECKING:
    from accelerate import PartialState


def make_stimuli(
    model: FaceModel,
    request: StimulusRequest,
    folder: Path,
    *,
    judge: str = "pretrained/judge",
    critic: str = "pretrained/critic_judge",
    embedder: str | None = None,
    nearest: str = "none",
    command: str = "",
    state: PartialState | None = None,
) -> dict[str, Any]:
    """Make the set in ``folder``, or go on with it; returns its manifest.

    A person that is finished is kept, whatever stops the run; the same call goes on and ends with the same files.

    Args:
        judge, critic, embedder, nearest: who else looks at the faces; see :meth:`generation.kit.opinions.Opinions.gather`.
        command: how the set is made again; stored in manifest and card.
        state: Accelerate's state where several processes share the work; every one of them calls this.

    Raises:
        UserError: the folder holds another set, another process makes one there, it cannot be written, or somebody who is to
            look at the faces cannot be had.
    """
    main = state is None or state.is_main_process
    request = request.spelt_out(model)
    look = str(request.settings["look"])
    opinions = Opinions.gather(model, look, judge=judge, critic=critic, embedder=embedder, nearest=nearest)
    with closing(FolderLock(folder / WORK, "makes a set")) as lock:
        if main:
            wanted = {
                "stimuli": request.model_dump(mode="json"),
                "weights_sha256": model.weights,
                "opinions": {**opinions.about, "absent": dict(opinions.absent)},
            }
            open_work(folder, MANIFEST, wanted, lambda found: all(found.get(name) == wanted[name] for name in wanted), lock)
        wait(state)
        if not (folder / MANIFEST).exists():
            _draw(model, request, opinions, folder / WORK, state)
            if main:
                write_stimuli(model, request, opinions, folder, folder / WORK, command)
        if main:
            shutil.rmtree(folder / WORK, ignore_errors=True)
    wait(state)
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


def _draw(model: FaceModel, request: StimulusRequest, opinions: Opinions, work: Path, state: PartialState | None) -> None:
    """Draw this process's share of the people, as far as they are not there."""
    rank, world = (0, 1) if state is None else (state.process_index, state.num_processes)
    mine = range(rank, request.people, world)
    seeds = person_seeds(request, model.attributes)
    with stop_at_ctrl_c():
        for number in tqdm(mine, desc="drawing", unit="person", leave=False, disable=None if rank == 0 else True):
            if not person_path(work, number).exists():
                person = draw_person(model, request, number, seeds[number])
                faces = [person.faces[cell] for cell in request.cells if cell in person.faces]
                store_person(work, request, person, opinions.ask([face.image for face in faces]))
        wait(state)
        if any(not person_path(work, number).exists() for number in range(request.people)):
            raise UserError(f"{work}: a process ended without its people; run the same command again")
