//! Images of several platforms, and options of image commands: the same lines on the reference, through the socket and
//! without a daemon.

use tests::differential::{Case, Deliberate, compare};

const fn case(name: &'static str, lines: &'static [&'static str]) -> Case {
    Case::new(name, lines)
}

/// An OCI archive with one image for two platforms, the same bytes each time.
const ARCHIVE: &str = r#"test -e /tmp/multi.tar && exit
mkdir -p /tmp/oci/blobs/sha256 && cd /tmp/oci
put() { d=$(sha256sum <"$1" | cut -c 1-64); s=$(stat -c %s "$1"); mv "$1" blobs/sha256/$d; }
n=0; for arch in arm64 amd64; do
  echo "for $arch" >file; touch -d @0 file; tar --owner=0 --group=0 --numeric-owner -cf layer file; put layer; layer=$d; size=$s
  printf '{"architecture":"%s","os":"linux","created":"2020-01-01T00:00:00Z","config":{"Cmd":["x"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $arch $layer >config; put config
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' $d $s $layer $size >manifest; put manifest
  all="$all${all:+,}$(printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"%s","os":"linux"}}' $d $s $arch)"
done
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$all" >whole; put whole
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:%s","size":%s,"annotations":{"io.containerd.image.name":"docker.io/library/multi:1"}}]}' $d $s >index.json
printf '{"imageLayoutVersion":"1.0.0"}' >oci-layout; rm -f file; tar cf /tmp/multi.tar *"#;

const PLATFORMS: &[Case] = &[
    case(
        "load for a platform",
        &[
            ARCHIVE,
            "$E load -i /tmp/multi.tar; $E images --tree multi",
            // The reference collects what the first load has left at some later time.
            "$E rmi -f multi:1; $E load --platform linux/arm64 -i /tmp/multi.tar; $E images --tree multi | grep arm64",
            "$E rmi -f multi:1; $E load --platform linux/amd64 </tmp/multi.tar; $E images --tree multi | grep amd64",
            "$E load --platform linux/s390x -i /tmp/multi.tar; $E load --platform bogus/x/y/z -i /tmp/multi.tar; $E load --platform bogus -i /tmp/multi.tar; $E rmi -f multi:1",
        ],
    ),
    case(
        "remove a platform",
        &[
            ARCHIVE,
            "$E load -i /tmp/multi.tar; $E rmi --platform linux/arm64 multi:1; $E rmi --platform bogus multi:1; $E rmi --platform linux/arm64 nosuch",
            "$E create --name user multi:1 >/dev/null; $E images --tree multi; $E rmi --force --platform linux/arm64 multi:1; $E images --tree multi",
            "$E rmi --force --platform linux/amd64 multi:1; $E images --tree multi; $E rmi --force --platform linux/amd64 multi:1; $E rm user; $E rmi multi:1",
        ],
    ),
    case(
        "tree",
        &[
            "$E tag $R/busybox bb:1; $E tag $R/busybox a-long-name.example.com/folder/image:with-a-tag; $E images --tree $R/busybox",
            "$E images --tree 2>/dev/null | head -1; $E images --tree nosuch; $E images --tree --filter dangling=true; $E image ls --tree bb | tail -3",
            "$E images --tree -q; $E images --tree --no-trunc; $E images --tree --digests; $E images --tree --format json; $E images --tree a b",
            "$E rmi bb:1 a-long-name.example.com/folder/image:with-a-tag",
        ],
    ),
    case(
        "import for a platform",
        &[
            "tar cf /tmp/root.tar -C /etc hostname; for p in linux/arm64 linux/arm/v7 windows/amd64; do $E import --platform $p /tmp/root.tar imp >/dev/null; $E images --tree imp | tail -2 | cut -c 1-20; done",
            "$E import --platform bogus /tmp/root.tar imp; $E import --platform a/b/c/d /tmp/root.tar imp; $E rmi imp | cut -c 1-14",
        ],
    ),
];

const OPTIONS: &[Case] = &[
    case(
        "links' names",
        &[
            "$E create --name cc $R/busybox >/dev/null; $E rm -l cc; $E rm --link nosuch; $E rm -l a/b; $E rm -l /cc/alias; $E ps -a --format '{{.Names}}'",
        ],
    ),
    case(
        "content trust",
        &[
            "$E create --disable-content-trust --name ct $R/busybox >/dev/null; $E pull -q --disable-content-trust $R/busybox; $E run --rm --disable-content-trust=true $R/busybox echo works",
            "DOCKER_CONTENT_TRUST=1 $E run --rm --disable-content-trust $R/busybox echo works; DOCKER_CONTENT_TRUST=0 $E pull -q $R/busybox",
            "echo \"trust: $($E pull --disable-content-trust=false $R/busybox 2>&1 | tail -1)\"; echo \"trust: $(DOCKER_CONTENT_TRUST=1 $E pull $R/busybox 2>&1 | tail -1)\"",
        ],
    )
    .but(&[Deliberate {
        reference: "Error: error contacting notary server: tls: first record does not look like a TLS handshake",
        ours: "docker: content trust (--disable-content-trust=false, DOCKER_CONTENT_TRUST) is not available",
        why: "Notary is being retired: nothing here speaks to it, and nothing is pulled unverified",
    }]),
];

#[test]
fn platforms() {
    compare(PLATFORMS);
}

#[test]
fn options() {
    compare(OPTIONS);
}
