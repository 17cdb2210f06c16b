//! The tables' memory: a kernel map of one value for each, made or found pinned.

use std::path::Path;

use aya::maps::MapData;
use lb_common::abi::tables::Table;

use super::DataplaneError;
use super::pins::{ARRAY, Geometry, MMAPABLE, Pins};

/// Every table's map, by number.
pub struct Memory(Vec<MapData>);

impl Memory {
    /// Maps that nobody else can find: for tests and benchmarks.
    pub fn unpinned(geometry: &Geometry) -> Result<Self, DataplaneError> {
        Table::ALL.into_iter().map(|table| create(table, geometry)).collect::<Result<_, _>>().map(Self)
    }

    /// The pinned maps; those that are not there are made and pinned. Whoever calls has compared what is there with `geometry`
    /// ([`Pins::existing`]).
    pub fn pinned(pins: &Pins, geometry: &Geometry) -> Result<Self, DataplaneError> {
        let open = |table: Table| {
            let path = pins.map(table);
            if path.exists() {
                return from_pin(&path);
            }
            let map = create(table, geometry)?;
            map.pin(&path).map_err(|e| DataplaneError::other(path.display().to_string(), e))?;
            Ok(map)
        };
        Table::ALL.into_iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// A table's map.
    pub fn map(&self, table: Table) -> &MapData {
        &self.0[table as usize]
    }
}

/// The map at a pin.
pub fn from_pin(path: &Path) -> Result<MapData, DataplaneError> {
    MapData::from_pin(path).map_err(|e| DataplaneError::other(path.display().to_string(), e))
}

fn create(table: Table, geometry: &Geometry) -> Result<MapData, DataplaneError> {
    let failed = |cause: String| DataplaneError::other(format!("making table {}", table.name()), cause);
    let bytes = geometry.bytes(table);
    let size = u32::try_from(bytes).map_err(|_| failed(format!("{bytes} bytes are more than a map holds")))?;
    let definition = aya_obj::Map::new_from_params(ARRAY, size_of::<u32>() as u32, size, 1, MMAPABLE);
    MapData::create(definition, table.name(), None).map_err(|e| failed(super::loader::chain(&e)))
}
