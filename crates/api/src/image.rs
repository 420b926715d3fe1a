//! Bodies of the image endpoints (Engine API 1.51, tag *Image*).
//!
//! Field order, names and zero values are those of dockerd 28.5 with containerd's image store. This file holds
//! no behaviour.

use std::collections::BTreeMap;

use crate::container::{Bytes, DriverData, HealthConfig, Set};
use crate::go_struct;

go_struct! {
    /// An OCI content descriptor.
    pub struct Descriptor = "v1.Descriptor" {
        media_type: String => "mediaType" ("MediaType"),
        digest: String => "digest" ("Digest"),
        size: i64 => "size" ("Size"),
        urls: Option<Vec<String>> => "urls" omitempty ("URLs"),
        annotations: Option<BTreeMap<String, String>> => "annotations" omitempty ("Annotations"),
        data: Option<Bytes> => "data" omitempty ("Data"),
        platform: Option<Platform> => "platform" omitempty ("Platform"),
        artifact_type: String => "artifactType" omitempty ("ArtifactType"),
    }

    /// An OCI platform.
    pub struct Platform = "v1.Platform" {
        architecture: String => "architecture" ("Architecture"),
        os: String => "os" ("OS"),
        os_version: String => "os.version" omitempty ("OSVersion"),
        os_features: Option<Vec<String>> => "os.features" omitempty ("OSFeatures"),
        variant: String => "variant" omitempty ("Variant"),
    }

    /// One image of `GET /images/json`.
    pub struct ImageSummary = "image.Summary" {
        containers: i64 => "Containers",
        created: i64 => "Created",
        id: String => "Id" ("ID"),
        labels: Option<BTreeMap<String, String>> => "Labels",
        parent_id: String => "ParentId" ("ParentID"),
        descriptor: Option<Descriptor> => "Descriptor" omitempty,
        manifests: Option<Vec<ManifestSummary>> => "Manifests" omitempty,
        repo_digests: Option<Vec<String>> => "RepoDigests",
        repo_tags: Option<Vec<String>> => "RepoTags",
        shared_size: i64 => "SharedSize",
        size: i64 => "Size",
        virtual_size: i64 => "VirtualSize" omitempty,
    }

    /// One manifest of an image.
    pub struct ManifestSummary = "image.ManifestSummary" {
        id: String => "ID",
        descriptor: Descriptor => "Descriptor",
        available: bool => "Available",
        size: ManifestSize => "Size",
        kind: String => "Kind",
        image_data: Option<ImageProperties> => "ImageData" omitempty,
        attestation_data: Option<AttestationProperties> => "AttestationData" omitempty,
    }

    /// A manifest's sizes.
    pub struct ManifestSize = "struct { Content int64; Total int64 }" {
        content: i64 => "Content",
        total: i64 => "Total",
    }

    /// What a manifest of a platform's image holds.
    pub struct ImageProperties = "image.ImageProperties" {
        platform: Platform => "Platform",
        size: UnpackedSize => "Size",
        containers: Option<Vec<String>> => "Containers",
    }

    /// The size of the unpacked layers.
    pub struct UnpackedSize = "struct { Unpacked int64 }" {
        unpacked: i64 => "Unpacked",
    }

    /// What an attestation is about.
    pub struct AttestationProperties = "image.AttestationProperties" {
        subject: String => "For",
    }

    /// The configuration an image gives its containers. dockerd writes these keys sorted and some even when they
    /// are empty; those from `AttachStderr` on that are options here only for API < 1.50.
    pub struct ImageConfig = "v1.DockerOCIImageConfig" {
        args_escaped: bool => "ArgsEscaped" omitempty,
        attach_stderr: Option<bool> => "AttachStderr" omitempty,
        attach_stdin: Option<bool> => "AttachStdin" omitempty,
        attach_stdout: Option<bool> => "AttachStdout" omitempty,
        cmd: Option<Vec<String>> => "Cmd",
        domainname: Option<String> => "Domainname" omitempty,
        entrypoint: Option<Vec<String>> => "Entrypoint",
        env: Option<Vec<String>> => "Env",
        exposed_ports: Option<Set> => "ExposedPorts" omitempty,
        healthcheck: Option<HealthConfig> => "Healthcheck" omitempty,
        hostname: Option<String> => "Hostname" omitempty,
        image: Option<String> => "Image" omitempty,
        labels: Option<BTreeMap<String, String>> => "Labels",
        on_build: Option<Vec<String>> => "OnBuild",
        open_stdin: Option<bool> => "OpenStdin" omitempty,
        shell: Option<Vec<String>> => "Shell" omitempty,
        stdin_once: Option<bool> => "StdinOnce" omitempty,
        stop_signal: String => "StopSignal" omitempty,
        tty: Option<bool> => "Tty" omitempty,
        user: String => "User",
        volumes: Option<Set> => "Volumes",
        working_dir: String => "WorkingDir",
    }

    /// An image's layers.
    pub struct RootFs = "image.RootFS" {
        kind: String => "Type" omitempty,
        layers: Option<Vec<String>> => "Layers" omitempty,
    }

    /// What is known of an image beside its configuration.
    pub struct ImageMetadata = "image.Metadata" {
        last_tag_time: String => "LastTagTime",
    }

    /// Answer of `GET /images/{name}/json`.
    pub struct ImageInspect = "image.InspectResponse" {
        id: String => "Id" ("ID"),
        repo_tags: Vec<String> => "RepoTags",
        repo_digests: Vec<String> => "RepoDigests",
        parent: String => "Parent",
        comment: String => "Comment",
        created: String => "Created" omitempty,
        docker_version: String => "DockerVersion",
        author: String => "Author",
        architecture: String => "Architecture",
        variant: String => "Variant" omitempty,
        os: String => "Os",
        os_version: String => "OsVersion" omitempty,
        size: i64 => "Size",
        virtual_size: i64 => "VirtualSize" omitempty,
        graph_driver: DriverData => "GraphDriver",
        root_fs: RootFs => "RootFS",
        metadata: ImageMetadata => "Metadata",
        descriptor: Option<Descriptor> => "Descriptor" omitempty,
        manifests: Option<Vec<ManifestSummary>> => "Manifests" omitempty,
        config: Option<ImageConfig> => "Config",
    }

    /// One line of what `DELETE /images/{name}` did.
    pub struct ImageDelete = "image.DeleteResponse" {
        deleted: String => "Deleted" omitempty,
        untagged: String => "Untagged" omitempty,
    }

    /// One line of `GET /images/{name}/history`.
    pub struct HistoryItem = "image.HistoryResponseItem" {
        comment: String => "Comment",
        created: i64 => "Created",
        created_by: String => "CreatedBy",
        id: String => "Id" ("ID"),
        size: i64 => "Size",
        tags: Option<Vec<String>> => "Tags",
    }

    /// Answer of `POST /images/prune`.
    pub struct PruneReport = "image.PruneReport" {
        images_deleted: Option<Vec<ImageDelete>> => "ImagesDeleted",
        space_reclaimed: i64 => "SpaceReclaimed",
    }

    /// Answer of `GET /distribution/{name}/json`.
    pub struct DistributionInspect = "registry.DistributionInspect" {
        descriptor: Descriptor => "Descriptor",
        platforms: Option<Vec<Platform>> => "Platforms",
    }

    /// One result of `GET /images/search`.
    pub struct SearchResult = "registry.SearchResult" {
        star_count: isize => "star_count" ("StarCount"),
        is_official: bool => "is_official" ("IsOfficial"),
        name: String => "name" ("Name"),
        is_automated: bool => "is_automated" ("IsAutomated"),
        description: String => "description" ("Description"),
    }

    /// Answer of `POST /auth`.
    pub struct AuthenticateOk = "registry.AuthenticateOKBody" {
        identity_token: String => "IdentityToken",
        status: String => "Status",
    }
}
