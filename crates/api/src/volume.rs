//! Bodies of the volume endpoints (Engine API 1.51, tag *Volume*), and the client's calls for them.

use std::collections::BTreeMap;

use crate::Error;
use crate::client::{Call, Client};
use crate::filters::Filters;
use crate::go::decode;
use crate::go_struct;
use crate::json::Json;
use crate::query::{Query, escape_path};

go_struct! {
    /// Body of `POST /volumes/create`.
    pub struct VolumeCreate = "volume.CreateOptions" {
        cluster_volume_spec: Option<Json> => "ClusterVolumeSpec" omitempty,
        driver: String => "Driver" omitempty,
        driver_opts: Option<BTreeMap<String, String>> => "DriverOpts" omitempty,
        labels: Option<BTreeMap<String, String>> => "Labels" omitempty,
        name: String => "Name" omitempty,
    }

    /// Answer of `GET /volumes`.
    pub struct VolumeList = "volume.ListResponse" {
        volumes: Vec<Volume> => "Volumes",
        warnings: Option<Vec<String>> => "Warnings",
    }

    /// A volume.
    pub struct Volume = "volume.Volume" {
        created_at: String => "CreatedAt" omitempty,
        driver: String => "Driver",
        labels: Option<BTreeMap<String, String>> => "Labels",
        mountpoint: String => "Mountpoint",
        name: String => "Name",
        options: Option<BTreeMap<String, String>> => "Options",
        scope: String => "Scope",
        status: Option<BTreeMap<String, Json>> => "Status" omitempty,
        usage_data: Option<VolumeUsage> => "UsageData" omitempty,
    }

    /// How much a volume holds and who uses it.
    pub struct VolumeUsage = "volume.UsageData" {
        ref_count: i64 => "RefCount",
        size: i64 => "Size",
    }

    /// Answer of `POST /volumes/prune`.
    pub struct VolumePruneReport = "volume.PruneReport" {
        volumes_deleted: Option<Vec<String>> => "VolumesDeleted",
        space_reclaimed: u64 => "SpaceReclaimed",
    }
}

impl Client {
    /// `POST /volumes/create`
    pub async fn volume_create(&self, wanted: &VolumeCreate) -> Result<Volume, Error> {
        self.fetch(Call::post("/volumes/create").json(wanted)).await
    }

    /// `GET /volumes`
    pub async fn volume_list(&self, filters: &Filters) -> Result<VolumeList, Error> {
        let query = Query::new().set_text("filters", &filters.to_param());
        self.fetch(Call::get("/volumes").query(query)).await
    }

    /// `GET /volumes/{name}`: decoded, and as it came.
    pub async fn volume_inspect(&self, name: &str) -> Result<(Volume, Json), Error> {
        let path = format!("/volumes/{}", escape_path(name));
        let raw = self.fetch_raw(Call::get(&path)).await?;
        Ok((decode(&raw)?, Json::parse(&raw)?))
    }

    /// `DELETE /volumes/{name}`
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<(), Error> {
        let path = format!("/volumes/{}", escape_path(name));
        self.order(Call::delete(&path).query(Query::new().set_flag("force", force))).await
    }

    /// `POST /volumes/prune`
    pub async fn volume_prune(&self, filters: &Filters) -> Result<VolumePruneReport, Error> {
        let query = Query::new().set_text("filters", &filters.to_param());
        self.fetch(Call::post("/volumes/prune").query(query)).await
    }
}
