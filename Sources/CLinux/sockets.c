// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE 1
#include "CLinux.h"

enum { MAXIMUM_FDS = 64 };

int catbird_accept(int fd) {
    int result;
    do result = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    while (result < 0 && (errno == EINTR || errno == ECONNABORTED));
    return result;
}

int catbird_send_with_fds(int socket, const void *bytes, size_t count, const int *fds, size_t fd_count) {
    if (fd_count > MAXIMUM_FDS || (fd_count > 0 && count == 0)) {
        errno = EINVAL;
        return -1;
    }
    size_t sent = 0;
    while (sent < count) {
        struct iovec part = {.iov_base = (char *)bytes + sent, .iov_len = count - sent};
        union {
            struct cmsghdr header;
            char space[CMSG_SPACE(sizeof(int) * MAXIMUM_FDS)];
        } control;
        struct msghdr message;
        memset(&message, 0, sizeof message);
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (sent == 0 && fd_count > 0) {
            memset(&control, 0, sizeof control);
            message.msg_control = &control;
            message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
            memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
        }
        ssize_t result = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (result < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        sent += (size_t)result;
    }
    return 0;
}

ssize_t catbird_receive_with_fds(
    int socket, void *bytes, size_t count, int *fds, size_t fd_capacity, size_t *fd_count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * MAXIMUM_FDS)];
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    if (fd_count) *fd_count = 0;
    ssize_t result;
    do result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -1;
    size_t taken = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t available = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < available; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (taken < fd_capacity) fds[taken++] = fd;
            else close(fd);
        }
    }
    if (fd_count) *fd_count = taken;
    return result;
}

int catbird_bind_everywhere(uint16_t port) {
    int on = 1, off = 0;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    const struct sockaddr *address = (struct sockaddr *)&six;
    socklen_t length = sizeof six;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT) {
        address = (struct sockaddr *)&four;
        length = sizeof four;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    if (fd < 0) return -1;
    if ((length == sizeof six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0)
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 || bind(fd, address, length) != 0) {
        int code = errno;
        close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

int catbird_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -1;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

int catbird_netlink_open(int protocol, uint32_t groups) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) return -1;
    struct sockaddr_nl address;
    memset(&address, 0, sizeof address);
    address.nl_family = AF_NETLINK;
    address.nl_groups = groups;
    int one = 1;
    // Older kernels know neither option; both only make answers better.
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
    setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
    int size = 4 * 1024 * 1024;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int catbird_netlink_send_room(int fd, size_t size) {
    int wanted = size > (1 << 29) ? 1 << 30 : (int)(2 * size + 65536);
    int current = 0;
    socklen_t length = sizeof current;
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &current, &length) == 0 && current >= wanted) return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) == 0) return 0;
    return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
}

int catbird_netlink_add_group(int fd, unsigned group) {
    return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
}

ssize_t catbird_netlink_receive(int fd, uint8_t **buffer, size_t *capacity) {
    for (;;) {
        ssize_t size = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
        if (size < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        if ((size_t)size > *capacity) {
            size_t wanted = (size_t)size < 32768 ? 32768 : (size_t)size;
            uint8_t *larger = realloc(*buffer, wanted);
            if (!larger) return -1;
            *buffer = larger;
            *capacity = wanted;
        }
        struct sockaddr_nl from;
        socklen_t length = sizeof from;
        memset(&from, 0, sizeof from);
        ssize_t received = recvfrom(fd, *buffer, *capacity, 0, (struct sockaddr *)&from, &length);
        if (received < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        if (from.nl_pid != 0) continue;
        return received;
    }
}
