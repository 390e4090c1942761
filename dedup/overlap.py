"""Where texts quote questions: shared runs of words, found with one hash look-up per word by compiled code."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.words import Bytes, Hashes, Places, Unicode, grams, scan


class Index(NamedTuple):
    """The n-grams of a set of questions, all of one length.

    Attributes:
        length: words in an n-gram.
        values: uint64[g], the hashes of the distinct n-grams.
        slots: int32[a power of two], a hash table with linear probing that holds the number of an n-gram or -1.
        starts: int64[g + 1], where each n-gram's places begin in `places`.
        places: int64[p], where n-grams begin, numbered through all questions with a gap after each.
        owners: int32[…], the question of each place.
        totals: int32[q], the number of distinct n-grams of each question.
    """

    length: int
    values: Hashes
    slots: NDArray[np.int32]
    starts: Places
    places: Places
    owners: NDArray[np.int32]
    totals: NDArray[np.int32]


class Overlaps(NamedTuple):
    """Pairs of a text and a question that share an n-gram, as arrays of equal length.

    Attributes:
        text, question: their numbers.
        shared: number of the question's distinct n-grams in the text.
        run: number of words in the longest common run.
        begin, end: place of that run in the bytes of the texts.
    """

    text: Places
    question: Places
    shared: Places
    run: Places
    begin: Places
    end: Places


def index(questions: list[Hashes], length: int) -> Index:
    """The index of questions, each the hashes of its words. A question of fewer than `length` words has no n-gram."""
    hashes, places, owners, totals = [], [], [], []
    place = 1
    for number, words in enumerate(questions):
        room = np.empty(len(words), dtype=np.uint64)
        ngrams = room[: grams(words, len(words), length, room)]
        hashes.append(ngrams)
        places.append(np.arange(place, place + len(ngrams)))
        owners.append(np.full(len(ngrams) + 1, number, dtype=np.int32))
        totals.append(len(set(ngrams.tolist())))
        place += len(ngrams) + 1
    every = np.concatenate([np.empty(0, dtype=np.uint64), *hashes])
    where = np.concatenate([np.empty(0, dtype=np.int64), *places])
    order = np.argsort(every, kind="stable")
    values, starts = np.unique(every[order], return_index=True)
    return Index(
        length,
        values,
        _slots(values, 1 << max(4, (4 * len(values)).bit_length())),
        np.append(starts, len(every)).astype(np.int64),
        where[order],
        np.concatenate([np.full(1, -1, dtype=np.int32), *owners]),
        np.array(totals, dtype=np.int32),
    )


@njit(cache=True, nogil=True)
def _slots(values: Hashes, size: int) -> NDArray[np.int32]:
    slots = np.full(size, -1, dtype=np.int32)
    for number in range(values.size):
        slot = np.int64(values[number]) & (size - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = number
    return slots


@njit(cache=True, nogil=True)
def _find(index: Index, value: int) -> int:
    """The number of the n-gram with this hash, or -1."""
    mask = index.slots.size - 1
    slot = np.int64(value) & mask
    while True:
        number = index.slots[slot]
        if number < 0 or index.values[number] == value:
            return number
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def overlaps(data: Bytes, places: Places, tables: Unicode, index: Index) -> Overlaps:
    """All overlaps of the texts of dedup.words.text_buffers with the questions of `index`."""
    longest = 0
    for text in range(places.size - 1):
        longest = max(longest, places[text + 1] - places[text])
    room = longest // 2 + 1
    words, hashes = np.empty(room, dtype=np.uint64), np.empty(room, dtype=np.uint64)
    begins, ends = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    # An entry counts only where `last`, `met` or `seen` points at the current text, so that no array has to be cleared.
    last, run = np.full(index.owners.size, -1, dtype=np.int64), np.zeros(index.owners.size, dtype=np.int64)
    met = np.full(index.values.size, -1, dtype=np.int64)
    seen = np.full(index.totals.size, -1, dtype=np.int64)
    shared, best, best_at = np.zeros_like(seen), np.zeros_like(seen), np.zeros_like(seen)
    rows = [(0, 0, 0, 0, 0, 0) for _ in range(0)]
    base = 0
    for text in range(places.size - 1):
        count = scan(data, places[text], places[text + 1], tables, words, begins, ends)
        touched = [0 for _ in range(0)]
        for at in range(grams(words, count, index.length, hashes)):
            number = _find(index, hashes[at])
            if number < 0:
                continue
            fresh = met[number] != text
            met[number] = text
            # Backwards, so that a run grows before its previous place is overwritten.
            for entry in range(index.starts[number + 1] - 1, index.starts[number] - 1, -1):
                place = index.places[entry]
                question = index.owners[place]
                if seen[question] != text:
                    seen[question] = text
                    shared[question], best[question] = 0, 0
                    touched.append(int(question))
                run[place] = run[place - 1] + 1 if last[place - 1] == base + at - 1 else 1
                last[place] = base + at
                if run[place] > best[question]:
                    best[question], best_at[question] = run[place], at
                further = entry + 1 < index.starts[number + 1]
                if fresh and not (further and index.owners[index.places[entry + 1]] == question):
                    shared[question] += 1
        for question in touched:
            first = best_at[question] - best[question] + 1
            final = best_at[question] + index.length - 1
            length = final - first + 1
            rows.append((text, question, int(shared[question]), int(length), int(begins[first]), int(ends[final])))
        base += count + 2
    out = np.empty((6, len(rows)), dtype=np.int64)
    for row in range(len(rows)):
        out[0, row], out[1, row], out[2, row], out[3, row], out[4, row], out[5, row] = rows[row]
    return Overlaps(out[0], out[1], out[2], out[3], out[4], out[5])
