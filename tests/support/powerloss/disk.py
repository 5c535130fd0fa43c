"""
A disk that may lose power: replays a trace, and says what could be found afterwards.

Legal is, after POSIX and no more than it: what a file held when a flush that succeeded began is there. Of what was written
since, each sector and each page may hold any of its states; so may the length. Of a folder's names, each change since its
last flush may have come through or not, by itself; a rename comes through whole or not at all. A flush of a file does not
cover its name, nor a flush of a folder its files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from support.powerloss.trace import Kind, Step

SECTOR, PAGE = 512, 4096


@dataclass(slots=True)
class Change:
    """A write at *at*, or with no data a truncation to it."""

    number: int
    at: int
    data: bytes | None


@dataclass(slots=True)
class File:
    """A file's durable content, and what was done since."""

    durable: bytearray = field(default_factory=bytearray)
    latest: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        """Do it, not durably."""
        self.changes.append(change)
        apply(self.latest, change)

    def flush(self, before: int) -> None:
        """What was done before step *before* is durable."""
        done = [change for change in self.changes if change.number < before]
        self.changes = [change for change in self.changes if change.number >= before]
        for change in done:
            apply(self.durable, change)

    def after_power_loss(self, rng: Random) -> bytes:
        """One of the contents that may be found."""
        if not self.changes:
            return bytes(self.durable)
        found = rng.choice(_WAYS)(self, rng)
        return bytes(found)


def apply(content: bytearray, change: Change) -> None:
    """Do *change* to *content*."""
    if change.data is None:
        del content[change.at :]
        content.extend(bytes(change.at - len(content)))
    else:
        content.extend(bytes(max(0, change.at - len(content))))
        content[change.at : change.at + len(change.data)] = change.data


def _nothing(file: File, rng: Random) -> bytearray:
    return bytearray(file.durable)


def _everything(file: File, rng: Random) -> bytearray:
    return bytearray(file.latest)


def _first_ones(file: File, rng: Random) -> bytearray:
    """Changes up to one that is torn."""
    content = bytearray(file.durable)
    whole = rng.randrange(len(file.changes) + 1)
    for change in file.changes[:whole]:
        apply(content, change)
    for change in file.changes[whole : whole + 1]:
        apply(content, _torn(change, rng))
    return content


def _any(file: File, rng: Random) -> bytearray:
    """Any of the changes, some of them torn."""
    content = bytearray(file.durable)
    for change in file.changes:
        if rng.random() < 0.5:
            apply(content, _torn(change, rng) if rng.random() < 0.3 else change)
    return content


def _torn(change: Change, rng: Random) -> Change:
    if not change.data:
        return change
    if rng.random() < 0.5:
        return Change(change.number, change.at, change.data[: rng.randrange(len(change.data))])
    lost = rng.randrange(len(change.data))
    return Change(change.number, change.at + lost, change.data[lost:])


def _by(unit: int) -> Callable[[File, Random], bytearray]:
    """Each *unit* bytes in any of the states that they had, and any of the lengths."""

    def mixed(file: File, rng: Random) -> bytearray:
        end = max(
            len(file.durable), len(file.latest), *(change.at + len(change.data or b"") for change in file.changes)
        )
        states: dict[int, list[bytes]] = {}
        content = bytearray(file.durable)
        lengths = [len(content)]
        for change in file.changes:
            size_before = len(content)
            apply(content, change)
            lengths.append(len(content))
            reach = max(size_before, end) if change.data is None else change.at + len(change.data)
            for number in range(min(change.at, size_before) // unit, -(-reach // unit)):
                states.setdefault(number, []).append(bytes(content[number * unit : (number + 1) * unit]))
        found = bytearray(file.durable).ljust(end, b"\0")
        for number, later in states.items():
            at = number * unit
            state = rng.choice([bytes(found[at : at + unit]), *later])
            if rng.random() < 0.05 and at >= len(file.durable):
                state = rng.randbytes(unit)  # what was there before it was ours
            found[at : at + unit] = state.ljust(len(found[at : at + unit]), b"\0")[: len(found[at : at + unit])]
        length = rng.choice([lengths[-1], rng.choice(lengths)])
        return found[:length].ljust(length, b"\0")

    return mixed


_WAYS: Sequence[Callable[[File, Random], bytearray]] = (
    _nothing,
    _everything,
    _first_ones,
    _any,
    _by(SECTOR),
    _by(PAGE),
)


@dataclass(slots=True)
class Renaming:
    """*old* is gone and *new* is there, if there is one: at once."""

    number: int
    process: int
    old: str | None
    new: str | None
    node: "File | Folder | None"


@dataclass(slots=True)
class Folder:
    """A folder's durable names, and what was done since."""

    durable: dict[str, "File | Folder"] = field(default_factory=dict)
    latest: dict[str, "File | Folder"] = field(default_factory=dict)
    changes: list[Renaming] = field(default_factory=list)

    def change(self, change: Renaming) -> None:
        """Do it, not durably."""
        self.changes.append(change)
        rename(self.latest, change)

    def flush(self, before: int) -> None:
        """What was done before step *before* is durable."""
        done = [change for change in self.changes if change.number < before]
        self.changes = [change for change in self.changes if change.number >= before]
        for change in done:
            rename(self.durable, change)

    def after_power_loss(self, rng: Random) -> dict[str, "File | Folder"]:
        """Some of the names that may be found."""
        found = dict(self.durable)
        chance = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0])
        for change in self.changes:
            if rng.random() < chance:
                rename(found, change)
        return found


def rename(names: dict[str, File | Folder], change: Renaming) -> None:
    """Do *change* to *names*."""
    if change.old is not None:
        names.pop(change.old, None)
    if change.new is not None and change.node is not None:
        names[change.new] = change.node


Tree = dict[str, "bytes | None"]
"""Content by path; None: a folder."""


class Disk:
    """What the recorded folder is, and could be after a loss of power."""

    def __init__(self, folders: Sequence[str], *, ignore: Callable[[Step, File | Folder], bool] | None = None) -> None:
        """With *folders* there from the beginning; a flush that *ignore* is true of does nothing, as if it were not there."""
        self._root = Folder()
        self._nodes: dict[int, File | Folder] = {}
        self._begun: dict[tuple[int, int], int] = {}
        self.number = 0
        """Steps done."""
        self._ignore = ignore
        for path in folders:
            self._change(path, Folder(), 0)
            self._folder(path).flush(1)
            for part in self._folders():
                part.flush(1)

    def do(self, step: Step) -> None:
        """Replay *step*."""
        self.number += 1
        match step.kind:
            case Kind.CREATE | Kind.MKDIR:
                node: File | Folder = File() if step.kind is Kind.CREATE else Folder()
                self._nodes[step.inode] = node
                self._change(step.text, node, step.number)
            case Kind.LINK:
                self._change(step.text, self._nodes[step.inode], step.number)
            case Kind.WRITE | Kind.TRUNCATE:
                data = step.data if step.kind is Kind.WRITE else None
                self._file(step).change(Change(self.number, step.number, data))
            case Kind.RENAME:
                self._rename(step.text, step.other, step.number)
            case Kind.UNLINK | Kind.RMDIR:
                folder, name = self._place(step.text)
                folder.change(Renaming(self.number, step.number, name, None, None))
            case Kind.FLUSH_BEGIN | Kind.FOLDER_BEGIN:
                self._begun[step.number, step.inode] = self.number
            case Kind.FLUSH_END | Kind.FOLDER_END:
                self._flush(step)
            case Kind.UNSEEN:
                raise AssertionError(f"the recording does not follow {step.text}")

    def latest(self) -> Tree:
        """What running programs see."""
        return dict(_walk("", self._root, lambda folder: folder.latest, lambda file: bytes(file.latest)))

    def after_power_loss(self, rng: Random) -> Tree:
        """What may be found after a loss of power now."""
        return dict(
            _walk("", self._root, lambda folder: folder.after_power_loss(rng), lambda file: file.after_power_loss(rng))
        )

    def _flush(self, step: Step) -> None:
        node = self._node_of_flush(step)
        begun = self._begun.pop((step.number, step.inode))
        if self._ignore is None or not self._ignore(step, node):
            node.flush(begun)

    def _node_of_flush(self, step: Step) -> File | Folder:
        return self._nodes[step.inode] if step.inode in self._nodes else self._folder(step.text)

    def _file(self, step: Step) -> File:
        node = self._nodes[step.inode]
        assert isinstance(node, File)
        return node

    def _change(self, path: str, node: File | Folder, process: int) -> None:
        folder, name = self._place(path)
        folder.change(Renaming(self.number, process, None, name, node))

    def _rename(self, old: str, new: str, process: int) -> None:
        (one, old_name), (other, new_name) = self._place(old), self._place(new)
        assert one is other, f"{old} was moved to another folder: not followed"
        one.change(Renaming(self.number, process, old_name, new_name, one.latest[old_name]))

    def _place(self, path: str) -> tuple[Folder, str]:
        above, _, name = path.rpartition("/")
        return self._folder(above), name

    def _folder(self, path: str) -> Folder:
        folder = self._root
        for part in path.split("/") if path else []:
            found = folder.latest[part]
            assert isinstance(found, Folder)
            folder = found
        return folder

    def _folders(self) -> Iterator[Folder]:
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += [node for node in folder.latest.values() if isinstance(node, Folder)]


def _walk(
    path: str,
    folder: Folder,
    names: Callable[[Folder], dict[str, File | Folder]],
    content: Callable[[File], bytes],
) -> Iterator[tuple[str, bytes | None]]:
    for name, node in names(folder).items():
        inside = f"{path}/{name}" if path else name
        if isinstance(node, Folder):
            yield inside, None
            yield from _walk(inside, node, names, content)
        else:
            yield inside, content(node)
