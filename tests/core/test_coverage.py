"""A missing view is named only for datasets whose captions use such tags."""

import pytest

from trainer_core.curation import coverage


def gaps(texts):
    return {one.key: one.gaps for one in coverage.covered(texts)}


def test_missing_views_are_named():
    texts = [f"elena, upper_body, {view}, smile, red dress" for view in ("from behind", "looking at viewer") * 6]
    assert "profile views" in gaps(texts)["view"]
    assert "front views" not in gaps(texts)["view"]
    assert "close-ups" in gaps(texts)["framing"]
    (framing,) = [one for one in coverage.covered(texts) if one.key == "framing"]
    assert framing.counts["upper body"] == 12


@pytest.mark.parametrize(
    "texts",
    [
        ["A woman in a red dress smiles at the camera from behind a fence."] * 20,
        ["elena, red dress, tree"] * 20,
        ["elena, upper body, smile, from side"] * 3,
        ["elena, upper body, smile, from side"] * 3 + ["elena, red dress, tree"] * 20,
        [],
    ],
)
def test_nothing_is_said_to_be_missing_where_captions_do_not_tell(texts):
    assert not any(gaps(texts).values())
