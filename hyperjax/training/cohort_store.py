"""Where a cohort is kept while all its members are on the host: the newest state, whole or not at all."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from hyperjax.training.chunk_store import ChunkStore
from hyperjax.training.cohort import Cohort

ABOUT = "about.json"  # written last


class CohortStore:
    """A folder for some members of a cohort.

    Args:
        folder: of these alone; made when something is saved.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def exists(self) -> bool:
        """Whether a state was kept."""
        return self._newest() is not None

    def save(self, cohort: Cohort, members: range, told: dict[str, Any]) -> None:
        """Keep the state of some members, each trained for a segment at least; older ones are deleted behind it.

        Args:
            members: in their cohort.
            told: what else to keep, as JSON has it.
        """
        old = self._newest()
        new = self.folder / str(0 if old is None else int(old.name) + 1)
        shutil.rmtree(new, ignore_errors=True)  # one that was cut short
        chunks = cohort.chunks(members)
        for place, chunk in enumerate(chunks):
            with contextlib.closing(ChunkStore(new / f"chunk-{place}")) as store:
                store.save(chunk.saved)
        content = {"told": told, "members": [[m - members.start for m in chunk.members] for chunk in chunks]}
        beside = new / f".{ABOUT}"
        beside.write_text(json.dumps(content))
        beside.replace(new / ABOUT)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, cohort: Cohort, members: range) -> Any:
        """Put members, of the same recipes and seeds, where they were; what else was kept, None where nothing was."""
        newest = self._newest()
        if newest is None:
            return None
        content = json.loads((newest / ABOUT).read_text())
        with contextlib.ExitStack() as opened:
            stores = [
                opened.enter_context(contextlib.closing(ChunkStore(newest / f"chunk-{number}")))
                for number in range(len(content["members"]))
            ]
            of_stores = [[members.start + place for place in places] for places in content["members"]]
            cohort.restore(list(zip(of_stores, stores, strict=True)))
        return content["told"]

    def _newest(self) -> Path | None:
        whole = [path for path in self.folder.glob("*") if path.name.isdigit() and (path / ABOUT).is_file()]
        return max(whole, key=lambda path: int(path.name), default=None)
