"""Widgets share one empty Layout, and one empty Style for each kind, so that few of them are sent to the page."""

import ipywidgets

from tests.support.page import inside, prepare
from trainer_ui import widgets


def test_the_widgets_of_an_app_share_layout_and_style(open_app, home):
    app = open_app(prepare(home))
    parts = [one for one in inside(app.root) if isinstance(one, widgets.Plain)]
    layouts = {one.layout for one in parts}
    assert len(parts) > 100
    assert len(layouts) < 15
    common = widgets.shared(ipywidgets.Layout)
    assert common in layouts
    set_ = [name for name in common.keys if not name.startswith("_") and getattr(common, name) is not None]
    assert set_ == [], "what is set for one widget would be set for all"


def test_each_kind_of_widget_has_its_own_style():
    assert widgets.Button().style is widgets.Button().style
    assert isinstance(widgets.Button().style, ipywidgets.ButtonStyle)
    assert isinstance(widgets.Text().style, ipywidgets.widgets.widget_string.TextStyle)
    assert isinstance(widgets.Dropdown().style, ipywidgets.widgets.widget_description.DescriptionStyle)


def test_a_widget_may_have_a_layout_of_its_own():
    one = widgets.Box(layout=widgets.Layout(order="3"))
    assert widgets.Box().layout.order is None
    assert one.layout.order == "3"


def test_a_closed_layout_is_not_shared_any_more():
    before = widgets.Button()
    widgets.shared(ipywidgets.Layout).close()
    after = widgets.Button()
    assert after.layout is not before.layout
    assert after.layout.comm is not None


def test_the_text_form_of_an_app_is_short(open_app):
    assert repr(open_app({}).root) == "VBox()"


def test_a_new_widget_has_its_css_classes():
    assert widgets.Box(classes=("easel-row",))._dom_classes == ("easel-row",)
    assert widgets.Box()._dom_classes == ()
