//! Volumes and mounts: the same lines on the reference, through the socket and without a daemon. Column "shows" of
//! `tests/flags.tsv` names the cases.

use tests::differential::{Case, compare};

const fn case(name: &'static str, lines: &'static [&'static str]) -> Case {
    Case::new(name, lines)
}

const VOLUMES: &[Case] = &[
    case(
        "volume create",
        &[
            "$E volume create aa1; $E volume create aa1; $E volume create --label x=y --label z aa2; $E volume create --name aa3; $E volume create -d local -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=1000 aa4",
            "$E volume create a; $E volume create 'a b'; $E volume create .x; $E volume create x1 x2; $E volume create --name x1 x2; $E volume create --label '' x1",
            "$E volume create -o nope=1 nn1; $E volume create -o type=bind nn1; $E volume create -o device=/tmp nn1; $E volume create -o o=bind nn1; $E volume create --opt x nn1",
            "$E volume create --scope single cc1; $E volume create --availability active cc1",
            "$E volume create | wc -c; $E volume prune -f | wc -l",
        ],
    ),
    case(
        "volume ls",
        &[
            "$E volume prune -af >/dev/null; $E volume create bb10; $E volume create --label x=y --label z=1 bb9; $E volume create -o type=none -o o=bind -o device=/tmp bb2; $E volume ls; $E volume ls -q; $E volume list -q",
            "$E volume ls --format '{{.Name}} {{.Driver}} {{.Links}} {{.Size}} {{.Scope}} {{.Label \"x\"}} {{.Status}} {{.Group}}'; $E volume ls --format raw; $E volume ls -q --format raw; $E volume ls --format 'table {{.Name}}\\t{{.Scope}}'; $E volume ls --cluster",
            "$E volume ls -qf name=bb; $E volume ls -qf label=x; $E volume ls -qf label=x=y -f label=z; $E volume ls -qf label=x=n; $E volume ls -qf driver=nope; $E volume ls -qf driver=local",
            "$E create --name uuu -v bb9:/x $R/busybox >/dev/null; $E volume ls -qf dangling=true; $E volume ls -qf dangling=0; $E ps -a --filter volume=bb9 --format '{{.Names}} {{.Mounts}} {{.LocalVolumes}}'; $E ps -aq --filter volume=/nope; $E rm uuu",
            "$E volume ls -f dangling=x; $E volume ls -f nope=x",
        ],
    ),
    case(
        "volume inspect",
        &[
            "$E volume create --label a=b iii; $E volume inspect iii nosuch | sed 's#/var/lib/[a-z]*#DATA#; s/\"CreatedAt.*/CreatedAt/'; $E volume inspect --format '{{.Name}} {{.Labels}} {{.Options}} {{.Scope}}' iii; $E volume inspect -f json iii | wc -l; $E volume inspect; $E inspect --type volume --format '{{.Driver}}' iii",
        ],
    ),
    case(
        "volume rm",
        &[
            "$E volume create rr1; $E volume create rr2; $E volume rm rr1 nosuch rr2; $E volume rm -f nosuch; $E volume rm; $E volume remove nosuch",
            "$E create --name uuu -v rr3:/x $R/busybox >/dev/null; $E volume rm rr3 2>&1 | sed 's/[0-9a-f]\\{64\\}/ID/'; $E volume rm -f rr3 2>&1 | sed 's/[0-9a-f]\\{64\\}/ID/'; $E rm uuu; $E volume rm rr3",
        ],
    ),
    case(
        "volume prune",
        &[
            "$E volume prune -af >/dev/null; $E volume create --label keep pp1; $E volume create pp2; $E run --rm -v pp2:/x $R/busybox sh -c 'head -c 1000 /dev/zero >/x/f'; $E volume prune -f; echo n | $E volume prune; echo n | $E volume prune -a; $E volume prune -af --filter 'label!=keep'; $E volume prune -af --filter label=keep",
            "$E volume prune -f --filter a=b; $E volume prune -f --filter all=x; $E volume prune -a --filter all=1; $E volume prune x",
        ],
    ),
    case(
        "volume words",
        &["$E volume nosuch; $E volume update nosuch; $E volume create www; $E volume update www"],
    ),
];

const MOUNTS: &[Case] = &[
    case(
        "volume modes",
        &[
            "for v in a1:/x:foo a1:/x:ro,rw a1:/x:rshared /tmp:/x:rshared,rslave /tmp:/x:nocopy /tmp:/x:z,Z a1:/ a1:x bad/:/x a1:/x:ro:z :; do $E run --rm -v $v $R/busybox true; done",
            "for v in /tmp:/x:z /tmp:/x:Z a1:/x:Z /tmp:/x:cached a1:/x:nocopy; do $E run --rm -v $v $R/busybox echo $v; done; $E volume rm a1",
            "$E run --rm -v /tmp:/x -v a1:/x $R/busybox true; $E run --rm --tmpfs /x -v a1:/x $R/busybox true; $E run --rm --mount src=a1,dst=/x -v a1:/x $R/busybox true",
            "$E run --rm -v /etc/passwd/x:/m $R/busybox true; $E run --rm -v /:/host:private $R/busybox true 2>&1 | sed 's#/var/lib/[a-z]*#DATA#'",
        ],
    ),
    case(
        "mount errors",
        &[
            "for m in type=bind,src=/nosuch,dst=/x type=bind,src=nosuch,dst=/x type=bind,dst=/x type=bind,src=/tmp,dst=x type=bind,src=/tmp,dst=/ type=nope,dst=/x type=npipe,src=/tmp,dst=/x type=bind,src=/tmp,dst=/x,bind-propagation=foo type=tmpfs,src=/tmp,dst=/x dst=/x,ro src=aa,dst=/x,volume-subpath=/s src=aa,dst=/x,volume-subpath=../s dst=/x,volume-subpath=s src=a,dst=/x src=/aa,dst=/x type=image,dst=/x type=image,src=x,dst=/x,image-subpath=/b; do $E run --rm --mount $m $R/busybox true; done",
        ],
    ),
    case(
        "mount",
        &[
            "mkdir -p /tmp/mmm; echo in >/tmp/mmm/f; $E run --rm --mount type=bind,src=/tmp/mmm,dst=/x $R/busybox cat /x/f; $E run --rm --mount type=bind,src=/tmp/mmm,dst=/x,ro $R/busybox touch /x/g; $E run --rm --mount type=bind,src=/tmp/mmm/f,dst=/etc/single,readonly $R/busybox cat /etc/single",
            "for o in '' tmpfs-size=1m,tmpfs-mode=700 ro tmpfs-size=1536k tmpfs-mode=1777; do $E run --rm --mount type=tmpfs,dst=/x,$o $R/busybox grep ' /x ' /proc/mounts; done; $E run --rm --mount type=tmpfs,dst=/x $R/busybox grep ' /x ' /proc/mounts",
            "$E run --rm --mount src=mm1,dst=/x $R/busybox sh -c 'mkdir -p /x/a/b; echo deep >/x/a/b/f; ln -s /etc/passwd /x/out; ln -s a /x/in'; $E run --rm --mount src=mm1,dst=/y,volume-subpath=a/b $R/busybox cat /y/f; $E run --rm --mount src=mm1,dst=/y,volume-subpath=in/b/f $R/busybox cat /y; for s in nosuch out; do $E run --rm --mount src=mm1,dst=/y,volume-subpath=$s $R/busybox true 2>&1 | sed 's#/var/lib/[a-z]*#DATA#g'; done",
            "$E run --rm --mount src=mm2,dst=/etc,volume-nocopy $R/busybox ls /etc/passwd; $E run --rm --mount src=mm3,dst=/x,volume-label=a=b,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=64k $R/busybox grep ' /x ' /proc/mounts; $E volume inspect --format '{{.Labels}} {{.Options}}' mm3; grep -c mm3 /proc/mounts",
            "$E run --rm --mount type=bind,src=/tmp/mmm,dst=/x,bind-nonrecursive $R/busybox cat /x/f; $E run --rm --mount type=bind,src=/tmp/mmm,dst=/x,bind-recursive=writable $R/busybox true",
        ],
    ),
    case(
        "image mount",
        &[
            "$E run --rm --mount type=image,src=$R/layered,dst=/x $R/busybox ls /x/data/kept; $E run --rm --mount type=image,src=$R/busybox,dst=/x,image-subpath=etc $R/busybox sh -c 'head -1 /x/passwd; touch /x/f; grep -c \" /x overlay ro,\" /proc/mounts'; $E run --rm --mount type=image,src=$R/busybox,dst=/x,image-subpath=etc/group $R/busybox head -1 /x",
            "$E create --name imm --mount type=image,src=$R/busybox,dst=/x $R/busybox true >/dev/null; $E inspect --format '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}}{{end}} {{json .HostConfig.Mounts}}' imm; $E start -a imm; $E start -a imm; $E rm imm",
        ],
    ),
    case(
        "volumes from",
        &[
            "$E create --name vsrc -v vv1:/d -v /tmp:/t:ro -v /an $R/busybox sh -c 'echo from >/d/f; echo an >/an/f' >/dev/null; $E start -a vsrc; $E run --rm --volumes-from vsrc $R/busybox cat /d/f /an/f; $E run --rm --volumes-from vsrc:ro $R/busybox sh -c 'cat /d/f; touch /d/g /an/g'; $E run --rm --volumes-from vsrc -v vv2:/d $R/busybox ls -A /d",
            "$E create --name vf1 --volumes-from vsrc:ro -v vv2:/d $R/busybox true >/dev/null; $E inspect --format '{{range .Mounts}}{{.Type}} {{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}}\n{{end}}' vf1 | sort; $E inspect --format '{{json .HostConfig.VolumesFrom}}' vf1",
            "$E rm -v vsrc; $E volume ls -qf dangling=false | wc -l; $E rm -v vf1; $E volume ls -qf label=com.docker.volume.anonymous",
            "$E run --rm --volumes-from nosuch $R/busybox true; $E run --rm --volumes-from '' $R/busybox true; $E run --rm --volumes-from vsrc:foo $R/busybox true; $E run --rm --volumes-from a:b:c $R/busybox true",
        ],
    ),
    case(
        "shown by inspect",
        &[
            "$E create --name sss -v ss1:/d -v /tmp:/t:ro --mount type=tmpfs,dst=/tm -v /an --mount src=ss2,dst=/vv,volume-label=a=b,volume-nocopy --mount type=bind,src=/run,dst=/r,readonly $R/busybox true >/dev/null; $E inspect --format '{{range .Mounts}}{{.Type}} {{.Driver}} {{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}}\n{{end}}' sss | sort; $E inspect --format '{{len .HostConfig.Binds}} {{json .HostConfig.Mounts}} {{json .Config.Volumes}} {{.HostConfig.VolumeDriver}}' sss; $E rm -v sss; $E volume rm ss1 ss2",
            "$E create --name hhh -v /:/host $R/busybox >/dev/null; $E inspect --format '{{(index .Mounts 0).Propagation}}' hhh; $E rm hhh",
        ],
    ),
    case(
        "volume driver",
        &[
            "$E create --name ddd --volume-driver local -v dd1:/x $R/busybox >/dev/null; $E inspect --format '{{.HostConfig.VolumeDriver}} {{(index .Mounts 0).Driver}}' ddd; $E rm ddd; $E volume rm dd1",
        ],
    ),
    case(
        "populated",
        &[
            "$E run --rm -v po1:/etc $R/layered true; $E run --rm -v po1:/x $R/busybox sh -c 'ls /x/passwd /x/group; head -1 /x/passwd; rm /x/group'; $E run --rm -v po1:/etc $R/layered ls /etc/group",
            "$E run --rm -v po2:/root $R/busybox sh -c 'stat -c \"%a %U\" /root'; $E run --rm -v po3:/tmp $R/busybox stat -c %a /tmp; $E run --rm -v po4:/data $R/layered sh -c 'ls -lA /data | awk \"{print \\$1, \\$2, \\$3, \\$4, \\$9, \\$10, \\$11}\"'",
            "$E run --rm -v po5:/bin/sh $R/busybox true 2>&1 | sed 's#source /.*/bin#source bin#'; $E run --rm -v /bin/sh $R/busybox true 2>&1 | sed 's#exists /.*/bin#exists bin#'; $E run --rm -v po6:/nowhere $R/busybox ls -A /nowhere",
        ],
    ),
    case(
        "driver options",
        &[
            "mkdir -p /tmp/opt; echo bound >/tmp/opt/f; $E volume create -o type=none -o o=bind -o device=/tmp/opt oo1; $E run --rm -v oo1:/x $R/busybox cat /x/f; grep -c oo1 /proc/mounts; $E volume create -o type=none -o o=bind -o device=/tmp/nosuch oo2; $E run --rm -v oo2:/x $R/busybox true 2>&1 | sed 's#/var/lib/[a-z]*#DATA#g'",
            "$E volume create -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=1000 oo3; $E run -d --name ttt -v oo3:/x $R/busybox sleep 100 >/dev/null; $E exec ttt sh -c 'echo shared >/x/f; stat -c %u /x'; $E run --rm -v oo3:/y $R/busybox cat /y/f; $E exec ttt cat /x/f; grep -c oo3 /proc/mounts; $E rm -f ttt; grep -c oo3 /proc/mounts; $E volume rm oo1 oo2 oo3; cat /tmp/opt/f",
        ],
    ),
];

#[test]
fn volumes() {
    compare(VOLUMES);
}

#[test]
fn mounts() {
    compare(MOUNTS);
}
