// The kernel floor: the kernel work of one container and nothing else.
//
//   floor run [OPTIONS] -- PROGRAM [ARG…]    one container from start to exit; gives the program's exit code
//   floor exec [OPTIONS] PID PROGRAM [ARG…]  one more process in a running container
//   floor bridge NAME ADDRESS/BITS           the bridge that `--bridge` expects
//
// Options of run: --parent NAME (group below each cgroup hierarchy), --v2 PATH (a plain v2 tree: one group, entered by
// CLONE_INTO_CGROUP; without it every v1 hierarchy below /sys/fs/cgroup), --lower A:B and --dir DIR (overlay; DIR
// takes upper, work and merged), or --rootfs DIR (a plain tree, bound), --binds DIR (with resolv.conf, hostname,
// hosts), --bridge NAME, --address A/BITS, --gateway A (veth into the bridge), --verbose (each step's time), --no-seccomp.
// It reads no configuration, checks nothing that the kernel does not check, and keeps no state: what a container
// engine adds to this is the engine's own cost. A static program, so that its own start is as small as it can be.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup/"
static const char *const V1[] = {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"};
#define V1_COUNT (sizeof V1 / sizeof *V1)

static struct {
    const char *parent, *v2, *lower, *dir, *rootfs, *binds, *bridge, *address, *gateway;
    int verbose, seccomp;
    char name[32];
} o = {.parent = "floor", .seccomp = 1};

static void fail(const char *what) {
    dprintf(2, "floor: %s: %s\n", what, strerror(errno));
    _exit(111);
}
#define CHECK(call) do { if ((call) < 0) fail(#call); } while (0)

// The time since the last step, for --verbose.
static void step(const char *name) {
    static struct timespec last;
    if (!o.verbose) return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (last.tv_sec)
        dprintf(2, "%7ld us  %s\n", (now.tv_sec - last.tv_sec) * 1000000L + (now.tv_nsec - last.tv_nsec) / 1000, name);
    clock_gettime(CLOCK_MONOTONIC, &last);
}

static int write_file(const char *path, const char *text, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = write(fd, text, size);
    close(fd);
    return n == (ssize_t)size ? 0 : -1;
}

static void put(const char *dir, const char *file, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (write_file(path, text, strlen(text)) < 0) fail(path);
}

// ---- cgroups

static void group_path(char *path, size_t size, const char *hierarchy) {
    if (o.v2) snprintf(path, size, "%s/%s/%s", o.v2, o.parent, o.name);
    else snprintf(path, size, ROOT "%s/%s/%s", hierarchy, o.parent, o.name);
}

// A new v1 cpuset is empty, and nothing can enter it until it has processors and memory.
static void inherit_cpuset(const char *group) {
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    for (int i = 0; i < 2; i++) {
        char path[512], text[256];
        snprintf(path, sizeof path, "%s/../%s", group, files[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0) close(fd);
        if (n <= 0) continue;
        text[n] = 0;
        put(group, files[i], text);
    }
}

// Docker's device rules.
static void allow_devices(const char *group) {
    static const char *const allow[] = {"c *:* m",     "b *:* m",     "c 1:3 rwm",   "c 1:5 rwm", "c 1:7 rwm",  "c 1:8 rwm",
                                        "c 1:9 rwm",   "c 5:0 rwm",   "c 5:1 rwm",   "c 5:2 rwm", "c 136:* rwm"};
    put(group, "devices.deny", "a");
    for (size_t i = 0; i < sizeof allow / sizeof *allow; i++) put(group, "devices.allow", allow[i]);
}

// On v1 all groups; on v2 the one group, whose directory is returned.
static int make_groups(void) {
    char path[512], parent[512];
    for (size_t i = 0; i < (o.v2 ? 1 : V1_COUNT); i++) {
        group_path(path, sizeof path, V1[i]);
        if (mkdir(path, 0755) < 0) {
            if (errno != ENOENT) fail(path);
            snprintf(parent, sizeof parent, "%s", path);
            *strrchr(parent, '/') = 0;
            mkdir(parent, 0755);
            if (!o.v2 && !strcmp(V1[i], "cpuset")) inherit_cpuset(parent);
            if (mkdir(path, 0755) < 0) fail(path);
        }
        if (o.v2) return open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        if (!strcmp(V1[i], "cpuset")) inherit_cpuset(path);
        if (!strcmp(V1[i], "devices")) allow_devices(path);
    }
    return -1;
}

// By the process itself: moving another one waits for a grace period.
static void enter_groups(void) {
    char path[512];
    for (size_t i = 0; !o.v2 && i < V1_COUNT; i++) {
        group_path(path, sizeof path, V1[i]);
        put(path, "tasks", "0");
    }
}

static void remove_groups(void) {
    char path[512];
    for (size_t i = 0; i < (o.v2 ? 1 : V1_COUNT); i++) {
        group_path(path, sizeof path, V1[i]);
        if (rmdir(path) < 0 && errno != ENOENT) fail(path);
    }
}

// ---- mounts

static void mount_at(const char *root, const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, target);
    if (mount(source, path, type, flags, data) < 0) fail(path);
}

static void mount_cgroups(const char *root) {
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (o.v2) return mount_at(root, "cgroup", "/sys/fs/cgroup", "cgroup2", flags | MS_RDONLY, NULL);
    mount_at(root, "tmpfs", "/sys/fs/cgroup", "tmpfs", flags, "mode=755");
    for (size_t i = 0; i < V1_COUNT; i++) {
        char group[512], target[64], path[512];
        group_path(group, sizeof group, V1[i]);
        snprintf(target, sizeof target, "/sys/fs/cgroup/%s", V1[i]);
        snprintf(path, sizeof path, "%s%s", root, target);
        CHECK(mkdir(path, 0755));
        mount_at(root, group, target, NULL, MS_BIND, NULL);
        mount_at(root, NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL);
    }
    mount_at(root, NULL, "/sys/fs/cgroup", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL);
}

static void make_devices(const char *root) {
    static const struct { const char *name; int major, minor; } nodes[] = {
        {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    static const char *const links[][2] = {{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
                                           {"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"}, {"pts/ptmx", "ptmx"}};
    char path[512];
    umask(0);
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        snprintf(path, sizeof path, "%s/dev/%s", root, nodes[i].name);
        CHECK(mknod(path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    }
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(path, sizeof path, "%s/dev/%s", root, links[i][1]);
        CHECK(symlink(links[i][0], path));
    }
    umask(022);
}

static void mount_all(const char *root) {
    const unsigned long strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    static const char *const files[] = {"resolv.conf", "hostname", "hosts"};
    char path[512];
    mount_at(root, "proc", "/proc", "proc", strict, NULL);
    mount_at(root, "tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    static const char *const dirs[] = {"/dev/pts", "/dev/mqueue", "/dev/shm"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", root, dirs[i]);
        CHECK(mkdir(path, 0755));
    }
    mount_at(root, "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount_at(root, "sysfs", "/sys", "sysfs", strict | MS_RDONLY, NULL);
    mount_cgroups(root);
    mount_at(root, "mqueue", "/dev/mqueue", "mqueue", strict, NULL);
    mount_at(root, "shm", "/dev/shm", "tmpfs", strict, "mode=1777,size=65536k");
    step("mounts");
    for (int i = 0; o.binds && i < 3; i++) {
        char target[64];
        snprintf(path, sizeof path, "%s/%s", o.binds, files[i]);
        snprintf(target, sizeof target, "/etc/%s", files[i]);
        mount_at(root, path, target, NULL, MS_BIND | MS_REC, NULL);
        mount_at(root, NULL, target, NULL, MS_PRIVATE | MS_REC, NULL);
    }
    step("bound files");
    make_devices(root);
    step("devices");
}

// After pivot_root: `root` is the container's.
static void protect_paths(void) {
    static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
    static const char *const masked[] = {"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                                         "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                                         "/sys/devices/virtual/powercap"};
    for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0) {
            if (errno == ENOENT) continue;
            fail(readonly[i]);
        }
        mount_at("", NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    }
    step("read-only paths");
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
        if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) == 0 || errno == ENOENT) continue;
        if (errno != ENOTDIR) fail(masked[i]);
        mount_at("", "tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL);
    }
    step("masked paths");
}

static void make_root(void) {
    char root[512], options[2048];
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    if (o.rootfs) {
        snprintf(root, sizeof root, "%s", o.rootfs);
        CHECK(mount(root, root, NULL, MS_BIND | MS_REC, NULL));
    } else {
        snprintf(root, sizeof root, "%s/merged", o.dir);
        snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work,index=off,redirect_dir=off,metacopy=off,xino=off,volatile",
                 o.lower, o.dir, o.dir);
        CHECK(mount("overlay", root, "overlay", 0, options));
    }
    step("root mount");
    mount_all(root);
    CHECK(chdir(root));
    CHECK(syscall(SYS_pivot_root, ".", "."));
    step("pivot_root");
    CHECK(umount2(".", MNT_DETACH));
    CHECK(chdir("/"));
    step("umount of the old root");
    protect_paths();
}

static void make_dirs(void) {
    static const char *const parts[] = {"", "/upper", "/work", "/merged"};
    char path[512];
    for (int i = 0; o.dir && i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", o.dir, parts[i]);
        CHECK(mkdir(path, 0755));
    }
}

static void remove_dirs(void) {
    static const char *const parts[] = {"/work/work/incompat/volatile/dirty", "/work/work/incompat/volatile", "/work/work/incompat", "/work/work", "/work/index", "/work", "/upper", "/merged", ""};
    char path[512];
    for (int i = 0; o.dir && i < 9; i++) {
        snprintf(path, sizeof path, "%s%s", o.dir, parts[i]);
        if (remove(path) < 0 && errno != ENOENT) fail(path);
    }
}

// ---- rights

// Docker's default capabilities, and what its default profile refuses without others (x86-64 numbers).
#define KEPT 0xa80425fbULL
static const short REFUSED[] = {134, 136, 139, 153, 155, 156, 159, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175, 176, 177, 178, 179,
                                180, 212, 227, 236, 237, 238, 239, 246, 248, 249, 250, 256, 272, 279, 298, 300, 303, 304, 305, 308, 310, 311, 312, 313, 320,
                                321, 323, 425, 426, 427, 428, 429, 430, 431, 432, 433, 435, 442, 443};
#define REFUSED_COUNT (sizeof REFUSED / sizeof *REFUSED)
enum { RETURN_ALLOW = SECCOMP_RET_ALLOW, RETURN_EPERM = SECCOMP_RET_ERRNO | EPERM };

struct range { uint32_t from; int allowed; };
static struct sock_filter code[512];
static int length;

// A binary tree over ranges of system call numbers, the cheap shape: the filter that Tare installs has it too.
static void emit_tree(const struct range *ranges, int count) {
    if (count == 1) {
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, ranges->allowed ? RETURN_ALLOW : RETURN_EPERM);
        return;
    }
    int middle = count / 2, jump = length++;
    emit_tree(ranges, middle);
    int right = length - jump - 1;
    if (right > 255) fail("jump too far");
    code[jump] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ranges[middle].from, right, 0);
    emit_tree(ranges + middle, count - middle);
}

static void load_filter(void) {
    static struct range ranges[2 * REFUSED_COUNT + 2];
    int count = 0;
    ranges[count++] = (struct range){0, 1};
    for (size_t i = 0; i < REFUSED_COUNT; i++) {
        if (ranges[count - 1].allowed && ranges[count - 1].from == (uint32_t)REFUSED[i]) count--;
        if (count == 0 || ranges[count - 1].allowed) ranges[count++] = (struct range){REFUSED[i], 0};
        ranges[count++] = (struct range){REFUSED[i] + 1, 1};
        // Two refused numbers in a row are one range.
        if (count >= 4 && ranges[count - 2].from == ranges[count - 3].from) count--;
    }
    ranges[count++] = (struct range){0x40000000, 0};
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    emit_tree(ranges, count);
    struct sock_fprog program = {length, code};
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program));
    step("seccomp");
}

static void drop_rights(void) {
    if (o.seccomp) load_filter();
    for (int cap = 0; cap <= 40; cap++)
        if (!(KEPT >> cap & 1)) CHECK(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
    CHECK(setgroups(0, NULL));
    CHECK(setresgid(0, 0, 0));
    CHECK(setresuid(0, 0, 0));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{(uint32_t)KEPT, (uint32_t)KEPT, 0}, {0, 0, 0}};
    CHECK(syscall(SYS_capset, &header, data));
    step("capabilities");
}

// ---- network

struct request { struct nlmsghdr header; char body[1024]; };

static int netlink(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    CHECK(fd);
    return fd;
}

static void begin(struct request *r, int type, int flags, const void *body, size_t size) {
    memset(r, 0, sizeof *r);
    r->header.nlmsg_len = NLMSG_LENGTH(size);
    r->header.nlmsg_type = type;
    r->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    memcpy(r->body, body, size);
}

static struct rtattr *attribute(struct request *r, int type, const void *value, size_t size) {
    struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));
    a->rta_type = type;
    a->rta_len = RTA_LENGTH(size);
    if (size) memcpy(RTA_DATA(a), value, size);
    r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + RTA_ALIGN(a->rta_len);
    return a;
}

static void end(struct request *r, struct rtattr *a) { a->rta_len = (char *)r + r->header.nlmsg_len - (char *)a; }

// `ignored` is an errno that is no failure.
static void talk(int fd, struct request *r, const char *what, int ignored) {
    char answer[4096];
    CHECK(send(fd, r, r->header.nlmsg_len, 0));
    CHECK(recv(fd, answer, sizeof answer, 0));
    const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
    if (h->nlmsg_type != NLMSG_ERROR) return;
    errno = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
    if (errno && errno != ignored) fail(what);
}

static void link_up(int fd, int index) {
    struct request r;
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(&r, RTM_NEWLINK, 0, &link, sizeof link);
    talk(fd, &r, "link up", 0);
}

static void add_address(int fd, int index, const char *text) {
    char address[64];
    struct in_addr in;
    snprintf(address, sizeof address, "%s", text);
    char *slash = strchr(address, '/');
    if (!slash) fail("address without /BITS");
    *slash = 0;
    if (inet_pton(AF_INET, address, &in) != 1) fail(address);
    struct request r;
    struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = atoi(slash + 1), .ifa_index = index};
    begin(&r, RTM_NEWADDR, NLM_F_CREATE, &a, sizeof a);
    attribute(&r, IFA_LOCAL, &in, sizeof in);
    attribute(&r, IFA_ADDRESS, &in, sizeof in);
    talk(fd, &r, "address", EEXIST);
}

// Pair, master, the peer's namespace and "up" in one message.
static void add_veth(int fd, pid_t pid) {
    struct request r;
    char name[IFNAMSIZ];
    struct ifinfomsg link = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, peer = {0};
    uint32_t master = if_nametoindex(o.bridge), target = pid;
    if (!master) fail(o.bridge);
    snprintf(name, sizeof name, "fl%d", pid);
    begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
    attribute(&r, IFLA_IFNAME, name, strlen(name) + 1);
    attribute(&r, IFLA_MASTER, &master, sizeof master);
    struct rtattr *info = attribute(&r, IFLA_LINKINFO, NULL, 0);
    attribute(&r, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = attribute(&r, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *other = attribute(&r, VETH_INFO_PEER, &peer, sizeof peer);
    attribute(&r, IFLA_IFNAME, "eth0", 5);
    attribute(&r, IFLA_NET_NS_PID, &target, sizeof target);
    end(&r, other);
    end(&r, data);
    end(&r, info);
    talk(fd, &r, "veth", 0);
}

static void set_up_network(int ready) {
    int fd = netlink();
    link_up(fd, 1);
    if (o.bridge) {
        char byte;
        if (read(ready, &byte, 1) != 1) fail("wait for the veth");
        int index = if_nametoindex("eth0");
        add_address(fd, index, o.address);
        link_up(fd, index);
        struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
        struct request r;
        struct in_addr gateway;
        inet_pton(AF_INET, o.gateway, &gateway);
        begin(&r, RTM_NEWROUTE, NLM_F_CREATE, &route, sizeof route);
        attribute(&r, RTA_GATEWAY, &gateway, sizeof gateway);
        talk(fd, &r, "route", 0);
    }
    close(fd);
    step("network");
}

static int bridge(const char *name, const char *address) {
    struct request r;
    struct ifinfomsg link = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    int fd = netlink();
    begin(&r, RTM_NEWLINK, NLM_F_CREATE, &link, sizeof link);
    attribute(&r, IFLA_IFNAME, name, strlen(name) + 1);
    struct rtattr *info = attribute(&r, IFLA_LINKINFO, NULL, 0);
    attribute(&r, IFLA_INFO_KIND, "bridge", 6);
    end(&r, info);
    talk(fd, &r, "bridge", EEXIST);
    add_address(fd, if_nametoindex(name), address);
    return 0;
}

// ---- processes

static pid_t clone_with(uint64_t flags, int group) {
    // With CLONE_PARENT the signal is that of the caller's own.
    struct clone_args args = {.flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD};
    if (group >= 0) {
        args.flags |= CLONE_INTO_CGROUP | CLONE_NEWCGROUP;
        args.cgroup = group;
    }
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    CHECK(pid);
    return pid;
}

static int wait_for(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void execute(char **args) {
    static char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL};
    execve(args[0], args, environment);
    fail(args[0]);
}

static int run(char **args) {
    int ready[2];
    snprintf(o.name, sizeof o.name, "floor-%d", getpid());
    step("");
    int rt = o.bridge ? netlink() : -1;
    CHECK(pipe2(ready, O_CLOEXEC));
    int group = make_groups();
    step("cgroups");
    make_dirs();
    step("directories");
    pid_t pid = clone_with(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET, group);
    if (pid == 0) {
        step("clone3 (child)");
        enter_groups();
        step("enter cgroups");
        CHECK(sethostname("floor", 5));
        make_root();
        set_up_network(ready[0]);
        drop_rights();
        execute(args);
    }
    step("clone3 (parent)");
    if (o.bridge) {
        add_veth(rt, pid);
        CHECK(write(ready[1], "", 1));
        step("veth");
    }
    int code = wait_for(pid);
    step("wait");
    remove_groups();
    step("remove cgroups");
    remove_dirs();
    step("remove directories");
    return code;
}

// Joins what `run` made for the container whose first process is `target`.
static int execute_in(pid_t target, char **args) {
    char path[64], groups[4096];
    snprintf(path, sizeof path, "/proc/%d/cgroup", target);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(file);
    ssize_t n = read(file, groups, sizeof groups - 1);
    CHECK(n);
    groups[n] = 0;
    int fd = syscall(SYS_pidfd_open, target, 0);
    CHECK(fd);
    pid_t pid = clone_with(0, -1);
    if (pid == 0) {
        for (char *line = strtok(groups, "\n"); line; line = strtok(NULL, "\n")) {
            char dir[512], *name = strchr(line, ':');
            char *at = name ? strchr(name + 1, ':') : NULL;
            if (!at || at[1] != '/') continue;
            *at = 0;
            name = name[1] ? name + 1 : "unified";
            if (!strncmp(name, "name=", 5)) name += 5;
            snprintf(dir, sizeof dir, ROOT "%s%s", name, at + 1);
            put(dir, "cgroup.procs", "0");
        }
        CHECK(setns(fd, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | (o.v2 ? CLONE_NEWCGROUP : 0)));
        pid_t inner = clone_with(CLONE_PARENT, -1);
        if (inner) _exit(0);
        drop_rights();
        execute(args);
    }
    // Both are children of this process: the helper ends first with 0.
    int status, code = 0;
    while (waitpid(-1, &status, 0) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status)) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return code;
}

int main(int argc, char **argv) {
    const struct { const char *name; const char **value; } options[] = {
        {"--parent", &o.parent}, {"--v2", &o.v2}, {"--lower", &o.lower}, {"--dir", &o.dir}, {"--rootfs", &o.rootfs},
        {"--binds", &o.binds}, {"--bridge", &o.bridge}, {"--address", &o.address}, {"--gateway", &o.gateway}};
    int i = 2;
    for (; i < argc && !strncmp(argv[i], "--", 2) && argv[i][2]; i++) {
        size_t k = 0;
        if (!strcmp(argv[i], "--verbose")) { o.verbose = 1; continue; }
        if (!strcmp(argv[i], "--no-seccomp")) { o.seccomp = 0; continue; }
        while (k < sizeof options / sizeof *options && strcmp(options[k].name, argv[i])) k++;
        if (k == sizeof options / sizeof *options || i + 1 >= argc) goto usage;
        *options[k].value = argv[++i];
    }
    if (i < argc && !strcmp(argv[i], "--")) i++;
    if (argc > 1 && !strcmp(argv[1], "run") && i < argc && (o.rootfs || (o.lower && o.dir)) && (!o.bridge || (o.address && o.gateway))) return run(argv + i);
    if (argc > 1 && !strcmp(argv[1], "exec") && i + 1 < argc) return execute_in(atoi(argv[i]), argv + i + 1);
    if (argc > 1 && !strcmp(argv[1], "bridge") && i + 1 < argc) return bridge(argv[i], argv[i + 1]);
usage:
    dprintf(2, "usage: floor run|exec|bridge …; see the head of floor.c\n");
    return 2;
}
