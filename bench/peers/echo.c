/*
 * The least that an echo server can be: one thread, epoll, and the system calls.
 *
 *     echo PORT     TCP and UDP on 127.0.0.1
 *
 * What cannot be sent at once is dropped, as no measurement sends more than a
 * socket's buffer holds.  Do not serve anybody with it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, EVENTS = 256, BACKLOG = 4096, DATAGRAMS_A_TURN = 64 };

static char buffer[BUFFER];
static int poller;

static void check(int result, const char *what) {
    if (result >= 0) return;
    perror(what);
    exit(1);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static int bound(int type, const char *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int on = 1, fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(fd, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(fd, (struct sockaddr *)&at, sizeof at), "bind");
    return fd;
}

static void acceptAll(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) watch(fd);
}

static void echoStream(int fd) {
    ssize_t got = recv(fd, buffer, BUFFER, 0);
    if (got > 0)
        send(fd, buffer, (size_t)got, MSG_NOSIGNAL);
    else
        close(fd);
}

static void echoDatagrams(int fd) {
    for (int i = 0; i < DATAGRAMS_A_TURN; i++) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(fd, buffer, BUFFER, 0, (struct sockaddr *)&from, &size);
        if (got < 0) return;
        sendto(fd, buffer, (size_t)got, 0, (struct sockaddr *)&from, size);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct epoll_event events[EVENTS];
    int datagrams = bound(SOCK_DGRAM, argv[1]), listener = bound(SOCK_STREAM, argv[1]);
    check(listen(listener, BACKLOG), "listen");
    check(poller = epoll_create1(0), "epoll_create1");
    watch(listener);
    watch(datagrams);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                acceptAll(fd);
            else if (fd == datagrams)
                echoDatagrams(fd);
            else
                echoStream(fd);
        }
    }
}
