"""Where Hydra looks for the lab's options: also in folders of the user's own."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from caelab import config
from caelab.config import folders


class CaelabFolders(SearchPathPlugin):
    """Options of the user's folders, after the lab's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders, unless the application is not the lab."""
        if any((one.path or "").endswith(config.CONF) for one in search_path.get_path()):
            for folder in folders.own():
                search_path.append("caelab", f"file://{folder}")
