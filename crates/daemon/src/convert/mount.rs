//! `--mount`'s requests and the mounts of a container, between the API's words and the engine's.

use api::container::MountPoint;
use api::host_config::{BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions};
use engine::Container;
use engine::mounts::{self, MountRequest};

/// What a client asks for.
pub(super) fn wanted(from: Mount) -> MountRequest {
    MountRequest {
        kind: from.kind,
        source: from.source,
        target: from.target,
        read_only: from.read_only,
        consistency: from.consistency,
        bind: from.bind_options.map(|options| mounts::BindOptions {
            propagation: options.propagation,
            non_recursive: options.non_recursive,
            create_mountpoint: options.create_mountpoint,
            read_only_non_recursive: options.read_only_non_recursive,
            read_only_force_recursive: options.read_only_force_recursive,
        }),
        volume: from.volume_options.map(|options| {
            let has_driver = options.driver_config.is_some();
            let Driver { name, options: driver_options } = options.driver_config.unwrap_or_default();
            mounts::VolumeOptions {
                no_copy: options.no_copy,
                labels: options.labels,
                subpath: options.subpath,
                has_driver,
                driver: name,
                driver_options,
            }
        }),
        image_subpath: from.image_options.map(|options| options.subpath),
        tmpfs: from.tmpfs_options.map(|options| mounts::TmpfsOptions {
            size_bytes: options.size_bytes,
            mode: options.mode,
            options: options.options.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect(),
        }),
    }
}

/// The same, as `inspect` shows it.
pub(super) fn shown(from: &MountRequest) -> Mount {
    Mount {
        kind: from.kind.clone(),
        source: from.source.clone(),
        target: from.target.clone(),
        read_only: from.read_only,
        consistency: from.consistency.clone(),
        bind_options: from.bind.as_ref().map(|options| BindOptions {
            propagation: options.propagation.clone(),
            non_recursive: options.non_recursive,
            create_mountpoint: options.create_mountpoint,
            read_only_non_recursive: options.read_only_non_recursive,
            read_only_force_recursive: options.read_only_force_recursive,
        }),
        volume_options: from.volume.as_ref().map(|options| VolumeOptions {
            no_copy: options.no_copy,
            labels: options.labels.clone(),
            subpath: options.subpath.clone(),
            driver_config: options
                .has_driver
                .then(|| Driver { name: options.driver.clone(), options: options.driver_options.clone() }),
        }),
        image_options: from.image_subpath.as_ref().map(|subpath| ImageOptions { subpath: subpath.clone() }),
        tmpfs_options: from.tmpfs.as_ref().map(|options| TmpfsOptions {
            size_bytes: options.size_bytes,
            mode: options.mode,
            options: (!options.options.is_empty())
                .then(|| options.options.iter().cloned().map(Some).collect()),
        }),
    }
}

/// What is mounted into a container.
pub(super) fn points(container: &Container) -> Vec<MountPoint> {
    let point = |point: &engine::MountPoint| MountPoint {
        kind: point.kind.as_str().to_owned(),
        name: point.name.clone(),
        source: point.source.clone(),
        destination: point.destination.clone(),
        driver: point.driver.clone(),
        mode: point.mode.clone(),
        rw: point.read_write,
        propagation: point.propagation.clone(),
    };
    container.mounts.iter().map(point).collect()
}
