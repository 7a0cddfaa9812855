from __future__ import annotations

import json

from greensock.loadtest.recording import MAX_ERROR_TEXTS, Recording


def filled() -> Recording:
    recording = Recording()
    recording.add_request(10, "echo", 0.25, 64, None)
    recording.add_request(10, "echo", 0.25, 64, None)
    recording.add_request(10, "connect", 1.5, 0, None)
    recording.add_request(11, "echo", 2.0, 0, ConnectionResetError(104, "reset"))
    recording.add_request(11, "echo", None, 0, None)
    recording.add_to_counter("stale replies", 2)
    recording.add_generator_sample("a-1", lag=(10.4, 0.5))
    recording.add_generator_sample("a-1", cpu=(10.5, 0.25, 0.1))
    return recording


def test_json_has_each_second_and_name() -> None:
    recording = filled()
    recording.marks["start"] = 9.5
    assert json.loads(json.dumps(recording.as_json([]))) == {
        "marks": {"start": 9.5},
        "exceptions": [],
        "seconds": [
            [10, "connect", 1, 0, 1.5, 0, [[1.5, 1]]],
            [10, "echo", 2, 0, 0.5, 128, [[0.25, 2]]],
            [11, "echo", 2, 1, 2.0, 0, [[2.0, 1]]],
        ],
        "errors": {"echo: [Errno 104] reset": 1},
        "counters": {"stale replies": 2},
        "generators": {"a-1": {"gen": [[10.5, 0.25, 0.1]], "lag": [[10.4, 0.5]]}},
    }


def test_merged_batches_add_up() -> None:
    merged = Recording()
    merged.merge_batch(filled().batch())
    merged.merge_batch(json.loads(json.dumps(filled().batch())))
    rows = merged.by_name()
    assert (rows["echo"].requests, rows["echo"].failures, rows["echo"].size) == (8, 2, 256)
    assert rows["echo"].histogram.pairs() == [[0.25, 4], [2.0, 2]]
    assert merged.errors == {"echo: [Errno 104] reset": 2}
    assert merged.counters == {"stale replies": 4}
    assert merged.generators["a-1"]["lag"] == [[10.4, 0.5], [10.4, 0.5]]


def test_a_batch_is_not_changed_by_what_follows() -> None:
    recording = filled()
    merged = Recording()
    merged.merge_batch(recording.batch())
    merged.add_request(10, "echo", 1.0, 1, None)
    assert recording.by_name()["echo"].requests == 4


def test_ever_new_error_texts_do_not_fill_the_memory() -> None:
    recording = Recording()
    for number in range(MAX_ERROR_TEXTS + 100):
        recording.add_request(0, "echo", 1.0, 0, f"error {number}")
    assert len(recording.errors) == MAX_ERROR_TEXTS + 1
    assert recording.errors["other errors"] == 100
