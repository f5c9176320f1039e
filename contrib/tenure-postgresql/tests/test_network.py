"""Names that nobody answers for, answers that stop, certificates that are renewed: as for the stores of Tenure."""

from __future__ import annotations

from pathlib import Path

from tenure_testkit.probes import network

TLS_REQUEST, GRANTED = bytes.fromhex("0000000804d2162f"), b"S"


def test_a_store_lives_on_without_a_name_server(url: str) -> None:
    network.lives_on_without_a_name_server(url)


def test_every_feed_is_told_of_a_break(url: str) -> None:
    network.every_feed_is_told_of_a_break(url)


def test_an_answer_that_stops_in_the_middle_keeps_no_call_beyond_its_deadline(url: str) -> None:
    network.ends_in_time_when_answers_stop_after_a_byte(url)


def test_certificates_that_were_renewed_are_read_again(url: str, tmp_path: Path) -> None:
    network.takes_up_renewed_certificates(url, tmp_path, ask=TLS_REQUEST, answer=GRANTED)
