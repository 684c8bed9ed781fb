"""Which filters a dataset needs to be read, as far as they are not installed. Requires h5py.

HDF5 finds plugins by its own path; `import hdf5plugin` adds those that it brings along.
"""

import h5py

from headrace.errors import MissingExtraError

# What hdf5plugin has, by the numbers that the HDF Group gives to filters.
_OF_HDF5PLUGIN = {
    307: "bzip2",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
}


def check_filters(dataset: h5py.Dataset, path: str) -> None:
    """Raises a MissingExtraError if chunks of the dataset need a filter that is not here."""
    layout = dataset.id.get_create_plist()
    for position in range(layout.get_nfilters()):
        number, _, _, stored = layout.get_filter(position)
        if h5py.h5z.filter_avail(number) or not dataset.id.get_num_chunks():
            continue
        known = _OF_HDF5PLUGIN.get(number)
        name = known or stored.decode("utf-8", "replace") or "of no name"
        remedy = (
            "Install hdf5plugin, which has it, and import it before the reader is made, in each "
            "process: pip install hdf5plugin"
            if known
            else "Install its plugin where HDF5 looks for them, HDF5_PLUGIN_PATH"
        )
        raise MissingExtraError(
            f"{path!r} can't be read: dataset {dataset.name.strip('/')!r} needs the HDF5 filter "
            f"{number} ({name}), which is not installed. {remedy}"
        )
