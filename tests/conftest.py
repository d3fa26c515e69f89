"""What holds for all tests: the long series wait for `--full`, and files that wait for a workerd come first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# The order of the files: those that drive a workerd wait more than they compute and are few and long; the short ones
# fill up what is left at the end, where several processes share the files.
_FOLDERS = ("load", "worker", "client", "browser", "scripts", "bench", "unit", "property")


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the command line keeps on a machine is not kept on the one that tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("xdg")))
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the whole of each long series, and not a part of it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_rank)
    if config.getoption("--full") or "full" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def _rank(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return _FOLDERS.index(folder) if folder in _FOLDERS else len(_FOLDERS)
