"""A forked child: what it inherited acts no more and tells its age, and what it opens works."""

from tenure_testkit.probes import programs


def test_a_child_opens_its_own_store_and_leaves_the_parents_alone(store_url):
    assert programs.run(programs.FORKS, store_url, 2) == "done"
