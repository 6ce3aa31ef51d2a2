"""What widgets share: one Layout and one Style of a kind, with nothing set, so that a page is told of few of them."""

import ipywidgets

from tests.ui.page import inside, prepare
from trainer_ui import widgets


def test_the_widgets_of_an_app_share_what_none_has_of_its_own(open_app, home):
    app = open_app(prepare(home))
    parts = [one for one in inside(app.root) if isinstance(one, widgets.Plain)]
    layouts = {one.layout for one in parts}
    assert len(parts) > 100
    assert len(layouts) < 15
    common = widgets.shared(ipywidgets.Layout)
    assert common in layouts
    set_ = [name for name in common.keys if not name.startswith("_") and getattr(common, name) is not None]
    assert set_ == [], "what is set on one widget would be set on all"


def test_each_kind_has_its_own_style():
    assert widgets.Button().style is widgets.Button().style
    assert isinstance(widgets.Button().style, ipywidgets.ButtonStyle)
    assert isinstance(widgets.Text().style, ipywidgets.widgets.widget_string.TextStyle)
    assert isinstance(widgets.Dropdown().style, ipywidgets.widgets.widget_description.DescriptionStyle)


def test_a_widget_may_have_a_layout_of_its_own():
    one = widgets.Box(layout=widgets.Layout(order="3"))
    assert widgets.Box().layout.order is None
    assert one.layout.order == "3"


def test_what_was_closed_is_not_shared_any_more():
    before = widgets.Button()
    widgets.shared(ipywidgets.Layout).close()
    after = widgets.Button()
    assert after.layout is not before.layout
    assert after.layout.comm is not None


def test_what_a_cell_shows_in_place_of_an_app_is_short(open_app):
    assert repr(open_app({}).root) == "VBox()"


def test_classes_are_there_from_the_beginning():
    assert widgets.Box(classes=("easel-row",))._dom_classes == ("easel-row",)
    assert widgets.Box()._dom_classes == ()
