/*
 * What attacks a server over loopback, faster than Python could.
 *
 *     attack storm   -p PORT -t SECONDS [-s SOURCE] [-n SOURCES] [-r RATE] [-R]
 *     attack hold    -p PORT -c CLIENTS -t SECONDS [-s ...] [-n ...] [-r RATE] [-i MS] [-b FILE]
 *     attack readers -p PORT -c CLIENTS -t SECONDS [-b FILE] -B FILE
 *     attack cycle   -p PORT -c CONNECTIONS -t SECONDS [-k THREADS] [-e] [-b FILE]
 *     attack flood   -p PORT -t SECONDS [-r RATE]
 *
 * storm    Connects and closes; -R: with a reset.
 * hold     Connects and stays, says what FILE holds and then a byte every MS.
 * readers  Connects, says what -b holds and waits for the end of an answer's head if it
 *          is given, then sends what -B holds over and over, and never reads.
 * cycle    Connects, says what FILE holds, wants as much back (-e: wants to be cut),
 *          closes, and starts over.
 * flood    Datagrams.
 *
 * All of them end after SECONDS, when there is nothing left to do, or when standard
 * input ends, whichever is first, and print one line of JSON. Sources are SOURCE,
 * 127.0.0.2 unless said, and those that follow it. It talks to 127.0.0.1 and to
 * nothing else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, MOST_THREADS = 64, PATIENCE = 10 /* s */ };
static const uint64_t SECOND = 1000000000ull;

static struct {
    int port, sources, clients, threads, interval, reset, expectEnd;
    double seconds, rate;
    uint32_t source;
} options = {.sources = 1, .clients = 1, .threads = 4, .seconds = 1, .source = 0x7f000002u};

static char *first, *chunk;
static size_t firstSize, chunkSize;
static uint64_t began;
static _Atomic uint64_t end;

static void fail(const char *what) {
    fprintf(stderr, "attack: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * SECOND + (uint64_t)at.tv_nsec;
}

static double since(uint64_t start) { return (double)(now() - start) / (double)SECOND; }

static int isOver(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char ignored[64];
    if (now() >= end) return 1;
    return poll(&input, 1, 0) > 0 && read(0, ignored, sizeof ignored) <= 0;
}

/* Wait until the next of so many is due. */
static void pace(uint64_t done) {
    if (options.rate <= 0) return;
    uint64_t due = began + (uint64_t)((double)done / options.rate * (double)SECOND);
    uint64_t at = now();
    if (due > at + 100000) usleep((useconds_t)((due - at) / 1000));
}

static int openSocket(int kind, unsigned number) {
    int on = 1, fd = socket(AF_INET, kind, 0);
    if (fd < 0) return -1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(options.source + number % (unsigned)options.sources);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind");
    return fd;
}

static int join(int fd) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void resetAtClose(int fd) {
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void storm(void) {
    uint64_t made = 0, unanswered = 0;
    while ((made + unanswered) % 64 || !isOver()) {
        int fd = openSocket(SOCK_STREAM | SOCK_NONBLOCK, (unsigned)made);
        if (fd < 0) fail("socket");
        if (options.reset) resetAtClose(fd);
        /* Over loopback it is done at once, unless the server's backlog is full; to be
         * told so takes a second call. */
        if (join(fd) == 0 || (errno == EINPROGRESS && join(fd) == 0)) {
            made++;
        } else {
            unanswered++;
            usleep(200);
        }
        close(fd);
        pace(made + unanswered);
    }
    printf("{\"made\": %llu, \"unanswered\": %llu, \"seconds\": %.3f}\n",
           (unsigned long long)made, (unsigned long long)unanswered, since(began));
}

/* Those who stay. */

struct client {
    int fd;
    int connecting, isReading;
    uint64_t joined, spoke;
    size_t sent;          /* of what comes first, then of the chunk */
    uint64_t total;
    unsigned matched;     /* characters of the end of a head */
};

static uint64_t refused, cut, heardBytes;
static double firstCut = -1, lastCut = -1;
static int poller;

static void leave(struct client *client) {
    if (client->connecting) {
        refused++;
    } else {
        double took = (double)(now() - client->joined) / (double)SECOND;
        if (firstCut < 0 || took < firstCut) firstCut = took;
        if (took > lastCut) lastCut = took;
        cut++;
    }
    close(client->fd);
    client->fd = -1;
}

static int say(struct client *client, const char *text, size_t size) {
    ssize_t took = send(client->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (took < 0 && errno == EAGAIN) return 0;
    if (took < 0) {
        leave(client);
        return -1;
    }
    client->sent += (size_t)took;
    client->total += (uint64_t)took;
    client->spoke = now();
    return 1;
}

static void watch(struct client *client, int operation, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.ptr = client};
    if (epoll_ctl(poller, operation, client->fd, &event) < 0) fail("epoll_ctl");
}

static void joined(struct client *client) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        leave(client);
        return;
    }
    client->connecting = 0;
    client->joined = client->spoke = now();
    if (firstSize && say(client, first, firstSize) < 0) return;
    client->sent = 0;
    if (chunk && !firstSize) client->isReading = 1;
    watch(client, EPOLL_CTL_MOD, client->isReading ? EPOLLOUT | EPOLLRDHUP : EPOLLIN);
}

static void heard(struct client *client) {
    static const char END[] = "\r\n\r\n";
    char inbox[4096];
    /* A byte at a time where what follows must not be read. */
    for (;;) {
        ssize_t got = recv(client->fd, inbox, chunk ? 1 : sizeof inbox, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            leave(client);
            return;
        }
        heardBytes += (uint64_t)got;
        if (!chunk) continue;
        client->matched = inbox[0] == END[client->matched] ? client->matched + 1 : inbox[0] == END[0];
        if (client->matched < 4) continue;
        client->isReading = 1;
        watch(client, EPOLL_CTL_MOD, EPOLLOUT | EPOLLRDHUP);
        return;
    }
}

static void pour(struct client *client) {
    while (client->fd >= 0) {
        if (client->sent == chunkSize) client->sent = 0;
        if (say(client, chunk + client->sent, chunkSize - client->sent) <= 0) return;
    }
}

static void begin(struct client *client, unsigned number) {
    client->fd = openSocket(SOCK_STREAM | SOCK_NONBLOCK, number);
    if (client->fd < 0) fail("socket");
    client->connecting = 1;
    if (chunk) {
        /* What it does not read waits in the server, not here. */
        int size = 4096;
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    client->joined = client->spoke = now();
    join(client->fd);
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

static void hold(void) {
    struct client *clients = calloc((size_t)options.clients, sizeof *clients);
    struct epoll_event events[EVENTS];
    int started = 0, saidReady = 0;
    uint64_t spoke = now();
    if (!clients || (poller = epoll_create1(0)) < 0) fail("no memory");
    while (!isOver() && refused + cut < (uint64_t)options.clients) {
        uint64_t due = options.rate > 0 ? (uint64_t)(since(began) * options.rate) + 1
                                        : (uint64_t)started + 200;
        for (; started < options.clients && (uint64_t)started < due; started++)
            begin(&clients[started], (unsigned)started);
        int count = epoll_wait(poller, events, EVENTS, 5);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client->fd < 0) continue;
            if (client->connecting)
                joined(client);
            else if (events[i].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
                leave(client);
            else if (client->isReading)
                pour(client);
            else
                heard(client);
        }
        if (started == options.clients && !saidReady) {
            int connecting = 0;
            for (int i = 0; i < started; i++) connecting += clients[i].fd >= 0 && clients[i].connecting;
            if (!connecting || since(began) > 3) {
                saidReady = 1;
                printf("ready\n");
                fflush(stdout);
            }
        }
        uint64_t at = now();
        if (!options.interval || at - spoke < 20000000ull) continue;
        spoke = at;
        for (int i = 0; i < started; i++) {
            struct client *client = &clients[i];
            if (client->fd >= 0 && !client->connecting &&
                at - client->spoke >= (uint64_t)options.interval * 1000000ull)
                say(client, "x", 1);
        }
    }
    uint64_t total = 0, least = UINT64_MAX, most = 0, connecting = 0, held = 0;
    for (int i = 0; i < started; i++) {
        total += clients[i].total;
        if (clients[i].total < least) least = clients[i].total;
        if (clients[i].total > most) most = clients[i].total;
        if (clients[i].fd >= 0) *(clients[i].connecting ? &connecting : &held) += 1;
    }
    printf("{\"started\": %d, \"held\": %llu, \"connecting\": %llu, \"refused\": %llu, \"cut\": %llu, "
           "\"firstCut\": %.3f, \"lastCut\": %.3f, \"sent\": %llu, \"least\": %llu, \"most\": %llu, "
           "\"heard\": %llu, \"seconds\": %.3f}\n",
           started, (unsigned long long)held, (unsigned long long)connecting,
           (unsigned long long)refused, (unsigned long long)cut, firstCut, lastCut,
           (unsigned long long)total, (unsigned long long)least, (unsigned long long)most,
           (unsigned long long)heardBytes, since(began));
}

/* Those who come again and again. */

enum outcome { ANSWERED, REFUSED, RESET, ENDED, LATE, WRONG, OUTCOMES };
static const char *const NAMES[] = {"answered", "refused", "reset", "ended", "late", "wrong"};

static _Atomic int atDone;
static _Atomic uint64_t begun, outcomes[OUTCOMES];
static uint32_t *latencies; /* microseconds */

static enum outcome because(void) {
    if (errno == ECONNREFUSED) return REFUSED;
    if (errno == ECONNRESET || errno == EPIPE) return RESET;
    return errno == EAGAIN || errno == EINPROGRESS || errno == ETIMEDOUT ? LATE : WRONG;
}

static enum outcome converse(int fd) {
    char inbox[4096];
    size_t got = 0;
    if (join(fd) < 0) return because();
    if (send(fd, first, firstSize, MSG_NOSIGNAL) < 0) return because();
    while (got < firstSize || options.expectEnd) {
        ssize_t piece = recv(fd, inbox, sizeof inbox, 0);
        if (piece < 0) return because();
        if (piece == 0) return ENDED;
        got += (size_t)piece;
    }
    return got == firstSize ? ANSWERED : WRONG;
}

static void *cycle(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    struct timeval patience = {.tv_sec = PATIENCE};
    for (;;) {
        uint64_t number = begun++;
        if (number >= (uint64_t)options.clients) atDone = 1;
        if (number >= (uint64_t)options.clients || now() >= end) break;
        pace(number);
        uint64_t start = now();
        int fd = openSocket(SOCK_STREAM, thread);
        if (fd < 0) fail("socket");
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        enum outcome outcome = converse(fd);
        close(fd);
        outcomes[outcome]++;
        uint64_t took = (now() - start) / 1000;
        latencies[number] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took + 1;
    }
    return NULL;
}

static int byValue(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void cycles(void) {
    pthread_t threads[MOST_THREADS];
    if (!(latencies = calloc((size_t)options.clients, sizeof *latencies))) fail("no memory");
    for (int i = 0; i < options.threads; i++)
        if (pthread_create(&threads[i], NULL, cycle, (void *)(uintptr_t)i)) fail("a thread");
    while (!atDone && !isOver()) usleep(20000);
    end = now();
    for (int i = 0; i < options.threads; i++) pthread_join(threads[i], NULL);
    /* What was never begun is 0, and comes first. */
    qsort(latencies, (size_t)options.clients, sizeof *latencies, byValue);
    size_t skip = 0, count;
    while (skip < (size_t)options.clients && !latencies[skip]) skip++;
    count = (size_t)options.clients - skip;
    double ms[4] = {0};
    static const double SHARES[] = {0.5, 0.99, 0.999, 1};
    for (int i = 0; count && i < 4; i++)
        ms[i] = latencies[skip + (size_t)(SHARES[i] * (double)(count - 1))] / 1000.0;
    printf("{\"made\": %zu, \"seconds\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"p999\": %.3f, "
           "\"worst\": %.3f",
           count, since(began), ms[0], ms[1], ms[2], ms[3]);
    for (int i = 0; i < OUTCOMES; i++)
        printf(", \"%s\": %llu", NAMES[i], (unsigned long long)outcomes[i]);
    printf("}\n");
}

static void flood(void) {
    uint64_t made = 0;
    int fd = openSocket(SOCK_DGRAM, 0);
    if (fd < 0 || join(fd) < 0) fail("socket");
    while (made % 64 || !isOver()) {
        send(fd, "12345678901234567890123456789012", 32, 0);
        made++;
        pace(made);
    }
    printf("{\"made\": %llu, \"seconds\": %.3f}\n", (unsigned long long)made, since(began));
}

static char *readFile(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *text = malloc(1 << 20);
    if (!file || !text) fail(path);
    *size = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

int main(int argc, char **argv) {
    int option;
    const char *mode = argc > 1 ? argv[1] : "";
    argc--, argv++;
    while ((option = getopt(argc, argv, "p:s:n:c:k:t:r:i:b:B:Re")) != -1) {
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 's': options.source = ntohl(inet_addr(optarg)); break;
        case 'n': options.sources = atoi(optarg); break;
        case 'c': options.clients = atoi(optarg); break;
        case 'k': options.threads = atoi(optarg); break;
        case 't': options.seconds = atof(optarg); break;
        case 'r': options.rate = atof(optarg); break;
        case 'i': options.interval = atoi(optarg); break;
        case 'b': first = readFile(optarg, &firstSize); break;
        case 'B': chunk = readFile(optarg, &chunkSize); break;
        case 'R': options.reset = 1; break;
        case 'e': options.expectEnd = 1; break;
        default: return 2;
        }
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (!options.port || options.sources < 1 || options.clients < 1 || options.threads < 1 ||
        options.threads > MOST_THREADS || (options.source >> 24) != 127) {
        fprintf(stderr, "attack: see the head of attack.c\n");
        return 2;
    }
    began = now();
    end = began + (uint64_t)(options.seconds * (double)SECOND);
    if (!strcmp(mode, "storm")) storm();
    else if (!strcmp(mode, "hold") || !strcmp(mode, "readers")) hold();
    else if (!strcmp(mode, "cycle")) cycles();
    else if (!strcmp(mode, "flood")) flood();
    else return 2;
    return 0;
}
