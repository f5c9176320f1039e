"""The terminal: tabs with tables that follow the store, a filter, and keys to move between them."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Footer, Input, Static, Tab, Tabs

from tenure import Store
from tenure.plugin_kit import monotonic
from tenure_console.following.follower import Follower
from tenure_console.following.picture import Picture
from tenure_console.looks.text import plain
from tenure_console.terminal.tables import VIEWS, Asked, Cell

_PAUSE = 0.2
"""Seconds between two looks at what has changed."""
_STYLES = {
    "good": "green",
    "warn": "yellow",
    "bad": "red",
    "faint": "dim",
    "bound": "dim",
    "unsure": "dim",
    "strong": "bold",
    "": "",
}
_STATES = {
    "live": Cell("live", "good"),
    "outage": Cell("store not reached", "bad"),
    "ended": Cell("not watching", "bad"),
    "starting": Cell("starting", "warn"),
}


class Top(App[None]):
    """Shows ``store`` until the person ends it. It only reads.

    Args:
        store: an open store.
    """

    TITLE = "tenure top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $surface; }
    #head { height: 2; padding: 0 1; }
    Tabs { height: 2; background: $surface; }
    DataTable { height: 1fr; background: $surface; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    DataTable, DataTable:focus { background-tint: transparent; }
    DataTable > .datatable--header { background: $surface; color: $text-muted; text-style: none; }
    DataTable > .datatable--cursor, DataTable:focus > .datatable--cursor { background: $primary 30%; color: $text; }
    Footer { background: $surface; }
    #note { height: auto; padding: 0 1; color: $text-muted; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *((str(number), f"view('{name}')", name.capitalize()) for number, name in enumerate(VIEWS, 1)),
        ("slash", "filter", "Filter"),
        ("v", "values", "Values"),
        ("escape", "leave", "Back"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.picture = Picture()
        self.follower = Follower(store, self.picture)
        self._store = store
        self._view = "services"
        self._asked = Asked()
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(id="head")
        yield Tabs(*(Tab(name.capitalize(), id=name) for name in VIEWS))
        yield DataTable(cursor_type="row", zebra_stripes=False)
        yield Static(id="note")
        yield Input(placeholder="rows that contain ...", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow the store."""
        self.follower.start()
        self.set_interval(_PAUSE, self._look_again)
        self.query_one(DataTable).focus()
        self.look()

    def on_unmount(self) -> None:
        """End the watch."""
        self.follower.close()

    def _look_again(self) -> None:
        if self.is_running:  # its widgets go before its timers
            self.look()

    def look(self) -> None:
        """Show what has changed since the last look. Ages change each second."""
        version, _ = self.follower.changed_since(0)
        present = (version, int(monotonic()), self._view, self._asked, self.follower.link.state)
        if present != self._shown:
            self._shown = present
            self._show_head()
            self._show_table()

    def _show_head(self) -> None:
        totals, link = self.picture.totals(), self.follower.link
        state = _STATES[link.state]
        head = Text.assemble(
            (f"● {state.text}", _STYLES[state.tone]),
            ("  " + plain(self._store.url, 60), "bold"),
            (f"  revision {totals.revision}", "dim"),
            f"   {totals.services} services, {totals.instances} instances, {totals.holders} held, "
            f"{totals.leases} leases, {totals.keys} keys, {totals.changes} changes",
        )
        if link.error:
            head.append(f"   {plain(link.error, 200)}", "red")
        self.query_one("#head", Static).update(head)

    def _show_table(self) -> None:
        made, table = VIEWS[self._view](self.picture, self._asked), self.query_one(DataTable)
        here = self._name_at(table)
        left, top = table.scroll_x, table.scroll_y
        table.clear(columns=True)
        for column in made.columns:
            table.add_column(Text(column, "dim"))
        for row in made.rows:
            table.add_row(*(Text(cell.text, _STYLES[cell.tone]) for cell in row.cells), key=row.name)
        at = next((index for index, row in enumerate(made.rows) if row.name == here), 0)
        table.move_cursor(row=at, animate=False)
        table.scroll_to(left, top, animate=False)
        notes = (
            f"filter: {plain(self._asked.text, 60)}" if self._asked.text else "",
            made.empty if not made.rows else f"and {made.more:,} more; filter for them" if made.more else "",
            made.legend,
        )
        self.query_one("#note", Static).update(Text("   ".join(filter(None, notes))))

    @staticmethod
    def _name_at(table: DataTable[Text]) -> str | None:
        if not table.row_count:
            return None
        key, _ = table.coordinate_to_cell_key(table.cursor_coordinate)
        return key.value

    # -- what the person does ----------------------------------------------------------------------

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        """Show the view of a tab."""
        if event.tab is not None and event.tab.id in VIEWS:
            self._ask(view=event.tab.id)

    def action_view(self, name: str) -> None:
        """Show a view."""
        self.query_one(Tabs).active = name
        self._ask(view=name)

    def action_filter(self) -> None:
        """Open the line for a filter."""
        line = self.query_one("#filter", Input)
        line.add_class("open")
        line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the person types."""
        self._ask(text=event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter, and go back to the rows."""
        self._close_filter()

    def action_values(self) -> None:
        """Show or hide values."""
        self._ask(values=not self._asked.values)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the instances of a service."""
        self.action_open()

    def action_open(self) -> None:
        """Show the instances of the service under the cursor."""
        name = self._name_at(self.query_one(DataTable))
        if self._view == "services" and self._asked.service is None and name is not None:
            registry, _, service = name.partition("/")
            self._ask(service=(registry, service), text="")

    def action_leave(self) -> None:
        """Leave the filter, or the instances of a service."""
        line = self.query_one("#filter", Input)
        if line.has_class("open") or self._asked.text:
            line.value = ""
            self._close_filter()
            self._ask(text="")
        else:
            self._ask(view=self._view)

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("open")
        self.query_one(DataTable).focus()

    def _ask(
        self,
        *,
        view: str | None = None,
        text: str | None = None,
        service: tuple[str, str] | None = None,
        values: bool | None = None,
    ) -> None:
        """Change what is shown; what isn't given stays. A view begins with all of it."""
        before = self._asked
        if view is not None:
            self._view = view
        self._asked = Asked(
            before.text if text is None else text,
            service if service is not None else None if view is not None else before.service,
            before.values if values is None else values,
        )
        self.look()
