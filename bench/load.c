/*
 * The load generator: many clients of an echo server in one thread.
 *
 *     load tcp|tls|udp|connect|idle -p PORT [-c CLIENTS] [-s BYTES] [-d DEPTH]
 *          [-w SECONDS] [-t SECONDS] [PID ...]
 *
 * tcp      Each client keeps a connection, and DEPTH messages on their way.
 * tls      The same over TLS, if it is compiled WITH_TLS.
 * udp      The same with datagrams; what is silent for LOSS_AFTER is sent again.
 * connect  Each client connects, has one message echoed, closes, and starts over.
 * idle     The clients connect, have one message echoed, and stay until
 *          standard input ends.
 *
 * After -w seconds of warming up, and when every client has been served once, it
 * measures for -t seconds, and prints one line of JSON: what was echoed, how long
 * that took each (microseconds), and how much CPU the processes PID used meanwhile.
 * It reads their clocks itself, at the same instants at which it starts and stops
 * counting.
 *
 * It talks to 127.0.0.1 and to nothing else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <fcntl.h>
#include <openssl/ssl.h>
#endif

enum {
    BUFFER = 1 << 16,
    EVENTS = 256,
    TICK = 50,                /* ms between looks at the clock when nothing comes */
    SOURCES = 250,            /* addresses 127.0.1.1 ... that connections come from */
    MOST_LATENCIES = 1 << 22, /* kept; later ones are counted only */
    MOST_PIDS = 64,
};
static const uint64_t SECOND = 1000000000ull;
static const uint64_t PATIENCE = 5000000000ull; /* ns beyond warming up */
static const uint64_t LOSS_AFTER = 500000000ull; /* ns: loopback answers in a thousandth */

enum mode { TCP, UDP, CONNECT, IDLE, TLS, MODE_COUNT };
static const char *const MODES[] = {"tcp", "udp", "connect", "idle", "tls"};

struct client {
    int fd;
    unsigned number;
    unsigned received;   /* bytes of the message that is arriving */
    unsigned waiting;    /* messages on their way */
    unsigned oldest;     /* index into sent */
    size_t unsent;       /* bytes */
    uint64_t *sent;      /* when each message on its way was sent: a ring */
    uint64_t heard;      /* when something came last */
    uint32_t interest;   /* epoll events */
    int served;          /* something was echoed */
    int connecting;
#ifdef WITH_TLS
    SSL *ssl;
#endif
};

static struct options {
    enum mode mode;
    int port;
    unsigned clients, size, depth;
    double warmup, seconds;
    int pids[MOST_PIDS];
    int pidCount;
} options = {.clients = 50, .size = 64, .depth = 1, .warmup = 0.2, .seconds = 1.0};

static int poller;
static int measuring;
static char payload[BUFFER], inbox[BUFFER];
static uint64_t completed, lost;
static unsigned unserved;
static uint32_t *latencies; /* ns */
static size_t latencyCount;

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clockOf(clockid_t clock) {
    struct timespec at;
    if (clock_gettime(clock, &at) < 0) fail("a clock cannot be read");
    return (uint64_t)at.tv_sec * SECOND + (uint64_t)at.tv_nsec;
}

static uint64_t now(void) { return clockOf(CLOCK_MONOTONIC); }

static uint64_t serverCpu(void) {
    uint64_t total = 0;
    for (int i = 0; i < options.pidCount; i++) {
        clockid_t clock;
        if ((errno = clock_getcpuclockid(options.pids[i], &clock))) fail("the server is gone");
        total += clockOf(clock);
    }
    return total;
}

/* Connections. */

static void watch(struct client *client, int operation, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.ptr = client};
    client->interest = interest;
    if (epoll_ctl(poller, operation, client->fd, &event) < 0) fail("epoll_ctl");
}

static void openSocket(struct client *client, int flags) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int on = 1;
    int type = options.mode == UDP ? SOCK_DGRAM : SOCK_STREAM;
    if ((client->fd = socket(AF_INET, type | flags, 0)) < 0) fail("socket");
    if (options.mode != UDP) {
        /* Ports are reused once closed: many sources have enough of them. */
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(0x7f000101u + client->number % SOURCES);
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(client->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind");
    }
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        fail("connect");
}

#ifdef WITH_TLS
static void startTLS(struct client *client) {
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    client->ssl = SSL_new(context);
    SSL_set_fd(client->ssl, client->fd);
    if (SSL_connect(client->ssl) != 1) fail("the TLS handshake");
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
}

/* As send and recv do it. */
static ssize_t asSocket(struct client *client, int result) {
    if (result > 0) return result;
    int why = SSL_get_error(client->ssl, result);
    if (why == SSL_ERROR_ZERO_RETURN) return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return -1;
}
#endif

static ssize_t give(struct client *client, size_t size) {
#ifdef WITH_TLS
    if (client->ssl) return asSocket(client, SSL_write(client->ssl, payload, (int)size));
#endif
    return send(client->fd, payload, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t take(struct client *client) {
#ifdef WITH_TLS
    if (client->ssl) return asSocket(client, SSL_read(client->ssl, inbox, BUFFER));
#endif
    return recv(client->fd, inbox, BUFFER, MSG_DONTWAIT);
}

static void flush(struct client *client) {
    uint32_t interest = EPOLLIN;
    while (client->unsent) {
        size_t piece = client->unsent < BUFFER ? client->unsent : BUFFER;
        ssize_t took = give(client, piece);
        if (took < 0 && errno == EAGAIN) {
            interest = EPOLLIN | EPOLLOUT;
            break;
        }
        if (took < 0) fail("send");
        client->unsent -= (size_t)took;
    }
    if (client->interest != interest) watch(client, EPOLL_CTL_MOD, interest);
}

static void ask(struct client *client, unsigned messages, uint64_t at) {
    for (unsigned i = 0; i < messages; i++)
        client->sent[(client->oldest + client->waiting++) % options.depth] = at;
    if (options.mode != UDP) {
        client->unsent += (size_t)messages * options.size;
        flush(client);
        return;
    }
    for (unsigned i = 0; i < messages; i++)
        if (send(client->fd, payload, options.size, MSG_DONTWAIT) < 0 && errno != EAGAIN &&
            errno != ECONNREFUSED)
            fail("send");
}

static void startOver(struct client *client, uint64_t at) {
    client->connecting = 1;
    client->received = 0;
    client->number += options.clients;
    openSocket(client, SOCK_NONBLOCK);
    /* The connection is part of what is measured. */
    client->sent[client->oldest] = at;
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

/* Answers. */

static void echoed(struct client *client, uint64_t at) {
    uint64_t took = at - client->sent[client->oldest];
    client->oldest = (client->oldest + 1) % options.depth;
    if (!measuring) return;
    completed++;
    if (latencyCount < MOST_LATENCIES)
        latencies[latencyCount++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static void answered(struct client *client) {
    ssize_t got = take(client);
    if (got < 0 && (errno == EAGAIN || errno == ECONNREFUSED)) return;
    if (got < 0) fail("recv");
    if (got == 0 && options.mode != UDP) {
        fprintf(stderr, "load: the server closed a connection\n");
        exit(1);
    }
    uint64_t at = now();
    unsigned messages = 0;
    client->heard = at;
    if (options.mode == UDP) {
        messages = client->waiting > 0 && (unsigned)got == options.size;
    } else {
        client->received += (unsigned)got;
        messages = client->received / options.size;
        client->received %= options.size;
    }
    for (unsigned i = 0; i < messages; i++) echoed(client, at);
    client->waiting -= messages;
    if (messages && !client->served) client->served = 1, unserved--;
    if (options.mode != CONNECT) {
        if (messages) ask(client, messages, at);
    } else if (messages) {
        close(client->fd);
        startOver(client, now());
    }
}

static void connected(struct client *client) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if ((errno = error)) fail("connect");
    client->connecting = 0;
    uint64_t began = client->sent[client->oldest];
    ask(client, 1, began);
}

static void sendLostAgain(struct client *clients, uint64_t at) {
    for (unsigned i = 0; i < options.clients; i++) {
        struct client *client = &clients[i];
        if (at - client->heard < LOSS_AFTER) continue;
        lost += client->waiting;
        client->waiting = client->oldest = 0;
        client->heard = at;
        ask(client, options.depth, at);
    }
}

/* The modes. */

/* Until then, and everybody was served once. */
static void drive(struct client *clients, uint64_t until) {
    struct epoll_event events[EVENTS];
    uint64_t looked = now();
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, TICK);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client->connecting) {
                connected(client);
            } else {
                if (events[i].events & EPOLLOUT) flush(client);
                if (events[i].events & ~(uint32_t)EPOLLOUT) answered(client);
            }
        }
        uint64_t at = now();
        if (at >= until && (!unserved || at >= until + PATIENCE)) return;
        if (options.mode == UDP && at - looked > TICK * 1000000ull) {
            looked = at;
            sendLostAgain(clients, at);
        }
    }
}

static int byValue(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    if (!latencyCount) return 0;
    return latencies[(size_t)(share * (double)(latencyCount - 1))] / 1000.0;
}

static void measure(struct client *clients) {
    unserved = options.clients;
    for (unsigned i = 0; i < options.clients; i++) {
        uint64_t at = now();
        clients[i].heard = at;
        if (options.mode == CONNECT) {
            startOver(&clients[i], at);
        } else {
            openSocket(&clients[i], 0);
#ifdef WITH_TLS
            if (options.mode == TLS) startTLS(&clients[i]);
#endif
            watch(&clients[i], EPOLL_CTL_ADD, EPOLLIN);
            ask(&clients[i], options.depth, at);
        }
    }
    drive(clients, now() + (uint64_t)(options.warmup * (double)SECOND));

    measuring = 1;
    lost = unserved = 0;
    uint64_t began = now(), cpu = serverCpu(), own = clockOf(CLOCK_PROCESS_CPUTIME_ID);
    drive(clients, began + (uint64_t)(options.seconds * (double)SECOND));
    cpu = serverCpu() - cpu;
    own = clockOf(CLOCK_PROCESS_CPUTIME_ID) - own;
    double took = (double)(now() - began) / (double)SECOND;

    qsort(latencies, latencyCount, sizeof *latencies, byValue);
    printf("{\"completed\": %llu, \"lost\": %llu, \"seconds\": %.6f, \"serverCpu\": %.6f, "
           "\"ownCpu\": %.6f, \"p50\": %.1f, \"p99\": %.1f}\n",
           (unsigned long long)completed, (unsigned long long)lost, took,
           (double)cpu / (double)SECOND, (double)own / (double)SECOND, percentile(0.5),
           percentile(0.99));
}

static void stayIdle(struct client *clients) {
    for (unsigned i = 0; i < options.clients; i++) {
        openSocket(&clients[i], 0);
        if (send(clients[i].fd, payload, options.size, MSG_NOSIGNAL) < 0) fail("send");
        if (recv(clients[i].fd, inbox, options.size, MSG_WAITALL) != (ssize_t)options.size)
            fail("no echo");
    }
    printf("{\"idle\": %u}\n", options.clients);
    fflush(stdout);
    while (read(0, inbox, BUFFER) > 0) continue;
}

static void usage(void) {
    fprintf(stderr, "usage: load tcp|tls|udp|connect|idle -p PORT [-c CLIENTS] [-s BYTES] "
                    "[-d DEPTH] [-w SECONDS] [-t SECONDS] [PID ...]\n");
    exit(2);
}

static void readOptions(int argc, char **argv) {
    int mode = -1, option;
    for (int i = 0; argc > 1 && i < MODE_COUNT; i++)
        if (!strcmp(argv[1], MODES[i])) mode = i;
    if (mode < 0) usage();
    options.mode = (enum mode)mode;
#ifndef WITH_TLS
    if (options.mode == TLS) fprintf(stderr, "load: compiled without TLS\n"), exit(2);
#endif
    argc--, argv++;
    while ((option = getopt(argc, argv, "p:c:s:d:w:t:")) != -1) {
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'c': options.clients = (unsigned)atoi(optarg); break;
        case 's': options.size = (unsigned)atoi(optarg); break;
        case 'd': options.depth = (unsigned)atoi(optarg); break;
        case 'w': options.warmup = atof(optarg); break;
        case 't': options.seconds = atof(optarg); break;
        default: usage();
        }
    }
    for (; optind < argc && options.pidCount < MOST_PIDS; optind++)
        options.pids[options.pidCount++] = atoi(argv[optind]);
    int single = options.mode == CONNECT || options.mode == IDLE;
    if (!options.port || !options.clients || !options.size || options.size > BUFFER ||
        !options.depth || (single && options.depth != 1))
        usage();
}

int main(int argc, char **argv) {
    readOptions(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(payload, 'm', sizeof payload);
    struct client *clients = calloc(options.clients, sizeof *clients);
    uint64_t *sent = calloc((size_t)options.clients * options.depth, sizeof *sent);
    latencies = calloc(MOST_LATENCIES, sizeof *latencies);
    if (!clients || !sent || !latencies || (poller = epoll_create1(0)) < 0) fail("no memory");
    for (unsigned i = 0; i < options.clients; i++) {
        clients[i].number = i;
        clients[i].sent = sent + (size_t)i * options.depth;
    }
    if (options.mode == IDLE)
        stayIdle(clients);
    else
        measure(clients);
    return 0;
}
