//! The body of `GET /system/df` (Engine API 1.51), and the client's call for it.

use crate::Error;
use crate::client::{Call, Client};
use crate::container::ContainerSummary;
use crate::go_struct;
use crate::image::ImageSummary;
use crate::json::Json;
use crate::volume::Volume;

go_struct! {
    /// What everything occupies.
    pub struct DiskUsage = "types.DiskUsage" {
        layers_size: i64 => "LayersSize",
        images: Option<Vec<ImageSummary>> => "Images",
        containers: Option<Vec<ContainerSummary>> => "Containers",
        volumes: Option<Vec<Volume>> => "Volumes",
        build_cache: Option<Vec<Json>> => "BuildCache",
    }
}

impl Client {
    /// `GET /system/df`
    pub async fn disk_usage(&self) -> Result<DiskUsage, Error> {
        self.fetch(Call::get("/system/df")).await
    }
}
