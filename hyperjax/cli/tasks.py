"""hyperjax tasks."""


def tasks() -> None:
    """List the tasks that ship with the package."""
    from rich.console import Console
    from rich.table import Table

    from hyperjax.tasks import bundled

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("task")
    table.add_column("what is learnt")
    for name, description in bundled().items():
        table.add_row(name, description)
    Console().print(table)
    print("\nNext: hyperjax study digits --trials 64 --output out")
