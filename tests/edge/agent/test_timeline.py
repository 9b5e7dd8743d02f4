"""Where a message with a time belongs on a stream's count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sources.timeline import Timeline

NOW = 1.8e9
RATE = 300.0


def send(
    timeline: Timeline, t0: float | None, n: int = 300, arrival: float = NOW, rate: float = RATE, **more
):
    return timeline.place(t0, n, rate, arrival, **more)


def test_the_first_index_is_the_unix_time_in_periods():
    place = send(Timeline(), NOW)
    assert place.first_index == round(NOW * RATE)
    assert place.fresh
    assert place.t0 == NOW


def test_the_same_message_gets_the_same_place_in_another_process():
    one, other = Timeline(), Timeline()
    send(one, NOW - 1.0)
    first, second = send(one, NOW), send(other, NOW)
    assert (first.epoch, first.first_index) == (second.epoch, second.first_index)


def test_messages_that_follow_each_other_leave_no_gap():
    timeline = Timeline()
    places = [send(timeline, NOW + i) for i in range(5)]
    assert [p.first_index - places[0].first_index for p in places] == [0, 300, 600, 900, 1200]


@given(st.floats(-0.004, 0.004), st.floats(-0.005, 0.005))
def test_a_clock_that_drifts_or_jitters_opens_no_gap(drift: float, jitter: float):
    timeline = Timeline(tolerance_s=0.02)
    first = send(timeline, NOW)
    for i in range(1, 200):
        place = send(timeline, NOW + i * (1 + drift) + (jitter if i % 2 else 0.0))
        assert place.first_index == first.first_index + i * 300


def test_a_lost_message_is_a_gap_of_its_samples():
    timeline = Timeline()
    first = send(timeline, NOW)
    assert send(timeline, NOW + 3).first_index - first.first_index == 900
    assert send(timeline, NOW + 4).first_index - first.first_index == 1200


def test_a_repeated_message_keeps_its_old_place_and_does_not_move_the_end():
    timeline = Timeline()
    first = send(timeline, NOW)
    send(timeline, NOW + 1)
    assert send(timeline, NOW).first_index == first.first_index
    assert send(timeline, NOW + 2).first_index - first.first_index == 600


def test_slow_sensors():
    timeline = Timeline()
    first = send(timeline, NOW, n=1, rate=1 / 60)
    second = send(timeline, NOW + 63, n=1, rate=1 / 60)  # three seconds late is no gap at a sample a minute
    assert second.first_index == first.first_index + 1
    assert send(timeline, NOW + 63 + 180, n=1, rate=1 / 60).first_index == first.first_index + 4


@pytest.mark.parametrize("t0", [NOW, None, 12.5])
def test_another_rate_is_another_epoch(t0: float | None):
    timeline = Timeline()
    one = send(timeline, t0)
    other = send(timeline, None if t0 is None else t0 + 1, rate=250.0)
    assert other.epoch != one.epoch
    assert other.fresh
    assert timeline.rate_hz == 250.0


def test_a_clock_set_back_begins_an_epoch_of_its_own():
    timeline = Timeline()
    one = send(timeline, NOW)
    back = send(timeline, NOW - 3600)
    assert back.fresh
    assert back.epoch != one.epoch


def test_a_named_epoch():
    timeline = Timeline()
    one = send(timeline, 5.0, epoch="boot-1")
    other = send(timeline, 0.0, epoch="boot-2")
    assert one.epoch != other.epoch
    assert send(Timeline(), 5.0, epoch="boot-1", arrival=NOW + 99).epoch == one.epoch
    assert (one.first_index, other.first_index) == (1500, 0)


def test_an_uptime_is_dated_by_its_arrival():
    timeline = Timeline()
    place = send(timeline, 10.0, arrival=NOW)
    assert place.t0 == NOW - 1.0  # 300 samples at 300 Hz ended at their arrival
    assert send(timeline, 11.0, arrival=NOW + 7).t0 == pytest.approx(NOW)


def test_without_a_clock_the_count_goes_on():
    timeline = Timeline()
    places = [send(timeline, None, arrival=NOW + i * 1.3) for i in range(3)]
    assert [p.first_index for p in places] == [0, 300, 600]
    assert places[1].t0 == pytest.approx(places[0].t0 + 1.0)


def test_records_without_dates_sent_one_after_the_other_are_told_apart():
    timeline = Timeline()
    epochs = {send(timeline, 0.0, end=True).epoch for _ in range(5)}
    assert len(epochs) == 5
    epochs = {send(timeline, None, end=True).epoch for _ in range(5)}
    assert len(epochs) == 5


def test_the_tail_of_a_record_that_has_ended_does_not_begin_another():
    timeline = Timeline()
    send(timeline, NOW)
    send(timeline, NOW + 1)
    send(timeline, NOW + 2, end=True)
    assert send(timeline, NOW + 1) is None
    assert send(timeline, NOW + 2, end=True) is None


def test_a_record_sent_again_from_its_start_gets_the_same_places():
    timeline = Timeline()
    places = [send(timeline, NOW + i, end=i == 2) for i in range(3)]
    again = [send(timeline, NOW + i, end=i == 2) for i in range(3)]
    assert [(p.epoch, p.first_index) for p in again] == [(p.epoch, p.first_index) for p in places]
    assert again[0].fresh


def test_a_stream_may_go_on_after_an_end():
    timeline = Timeline()
    first = send(timeline, NOW, end=True)
    later = send(timeline, NOW + 1)
    assert later.fresh
    assert later.first_index == first.first_index + 300
