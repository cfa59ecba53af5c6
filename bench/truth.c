/* The ground truth: a server that knows when it was asked and when it answered.
 *
 * It takes the kernel's receive stamp of the request, reads the clock before and after each send, and
 * writes both per request, so that a client can be judged by the interval in which the truth lies. On
 * loopback a segment gets its receive stamp within the sender's send(). All moments are nanoseconds of
 * CLOCK_MONOTONIC, which every process of a host shares. A thread a connection, absolute sleeps.
 *
 * usage: truth PORT TLS_PORT LOG [CERTIFICATE.pem]
 * A request's path says what to do:
 *   /ID/FIRST_US/TOKENS/GAP_US/END_US/FLAGS/...
 * FLAGS: 1 the first three tokens within 2 ms, 2 headers together with the first token, 4 every event
 * cut in two segments 0.5 ms apart, 8 without TCP_NODELAY, 16 no stream: 200 and two bytes after FIRST_US.
 * A line of the log:
 *   ID request rtt_us headers_before headers_after first_before first_after last_before last_after end_before end_after tokens t,t,t…
 * t is the moment after the send that completed each token.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_TOKENS 2048
enum { TRIPLE = 1, TOGETHER = 2, SPLIT = 4, NAGLE = 8, PLAIN = 16 };

typedef struct {
    int fd;
    SSL *ssl; /* over two memory BIOs; NULL without TLS */
    int64_t stamp, rtt; /* of the newest read; of the handshake, in microseconds */
    int64_t before, after; /* of the newest send */
} Line;

static FILE *log_file;
static SSL_CTX *context;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The best of several sandwiches of the wall clock between two monotonic readings. */
static int64_t wall_ahead(void) {
    int64_t best = INT64_MAX, ahead = 0;
    for (int i = 0; i < 3; i++) {
        int64_t a = clock_ns(CLOCK_MONOTONIC), w = clock_ns(CLOCK_REALTIME), b = clock_ns(CLOCK_MONOTONIC);
        if (b - a < best) { best = b - a; ahead = w - (a + b) / 2; }
    }
    return ahead;
}

static ssize_t read_stamped(Line *line, void *buffer, size_t size) {
    char control[256];
    struct iovec io = { buffer, size };
    struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    ssize_t n = recvmsg(line->fd, &message, 0);
    line->stamp = clock_ns(CLOCK_MONOTONIC);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            line->stamp = t.tv_sec * 1000000000LL + t.tv_nsec - wall_ahead();
        }
    return n;
}

static int send_raw(Line *line, const char *data, size_t size) {
    line->before = clock_ns(CLOCK_MONOTONIC);
    while (size) {
        ssize_t n = send(line->fd, data, size, MSG_NOSIGNAL);
        if (n <= 0) return -1;
        data += n;
        size -= n;
    }
    line->after = clock_ns(CLOCK_MONOTONIC);
    return 0;
}

static int flush_tls(Line *line) {
    char sealed[65536];
    int n = BIO_read(SSL_get_wbio(line->ssl), sealed, sizeof sealed);
    return n > 0 ? send_raw(line, sealed, n) : 0;
}

static int put(Line *line, const char *data, size_t size) {
    if (!line->ssl) return send_raw(line, data, size);
    if (SSL_write(line->ssl, data, (int)size) <= 0) return -1;
    return flush_tls(line);
}

static int get(Line *line, char *buffer, size_t size) {
    if (!line->ssl) return (int)read_stamped(line, buffer, size);
    for (;;) {
        int n = SSL_read(line->ssl, buffer, (int)size);
        if (n > 0) return n;
        char sealed[16384];
        ssize_t got = read_stamped(line, sealed, sizeof sealed);
        if (got <= 0) return -1;
        BIO_write(SSL_get_rbio(line->ssl), sealed, (int)got);
    }
}

static int shake_hands(Line *line) {
    line->ssl = SSL_new(context);
    SSL_set_bio(line->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(line->ssl);
    for (;;) {
        int done = SSL_do_handshake(line->ssl);
        if (flush_tls(line)) return -1;
        if (done == 1) return 0;
        char sealed[16384];
        ssize_t got = read_stamped(line, sealed, sizeof sealed);
        if (got <= 0) return -1;
        BIO_write(SSL_get_rbio(line->ssl), sealed, (int)got);
    }
}

static void sleep_until(int64_t ns) {
    struct timespec t = { ns / 1000000000LL, ns % 1000000000LL };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

static int chunk(char *out, const char *text, int size) {
    return sprintf(out, "%x\r\n%.*s\r\n", size, size, text);
}

static const char *HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char *PIECE = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
    "\"choices\":[{\"index\":0,\"delta\":{%s},\"finish_reason\":%s}]}\n\n";

static int event(char *out, const char *delta, const char *reason) {
    char text[1024];
    return chunk(out, text, sprintf(text, PIECE, delta, reason));
}

/* One event; where it is cut, the truth of it is its second half. */
static int tell(Line *line, const char *data, int size, int flags) {
    if (flags & SPLIT) {
        if (put(line, data, size / 2)) return -1;
        sleep_until(line->after + 500000);
        data += size / 2;
        size -= size / 2;
    }
    return put(line, data, size);
}

static void answer(Line *line, const char *id, int64_t first_us, int tokens, int64_t gap_us, int64_t end_us, int flags) {
    char out[4096];
    int64_t asked = line->stamp, moment[MOST_TOKENS][2], head[2] = { 0, 0 };
    int size = 0, one = 1;
    if (!(flags & NAGLE)) setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (flags & PLAIN) {
        sleep_until(asked + first_us * 1000);
        const char *ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        if (put(line, ok, strlen(ok))) return;
        moment[0][0] = line->before;
        moment[0][1] = line->after;
        tokens = 1;
    } else {
        size = sprintf(out, "%s", HEAD);
        size += event(out + size, "\"role\":\"assistant\",\"content\":\"\"", "null");
        if (!(flags & TOGETHER)) {
            sleep_until(asked + first_us * 500);
            if (put(line, out, size)) return;
            head[0] = line->before;
            head[1] = line->after;
            size = 0;
        }
        int64_t start = asked + first_us * 1000;
        for (int i = 0; i < tokens; i++) {
            sleep_until(start + ((flags & TRIPLE) && i < 3 ? i * 900000LL : i * gap_us * 1000));
            size += event(out + size, "\"content\":\"word \"", "null");
            if (tell(line, out, size, flags)) return;
            moment[i][0] = line->before;
            moment[i][1] = line->after;
            size = 0;
        }
        sleep_until(line->after + end_us * 1000);
        size = event(out, "", "\"stop\"");
        char text[512];
        size += chunk(out + size, text, sprintf(text, "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\","
            "\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n", tokens, tokens + 9));
        size += sprintf(out + size, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
        if (put(line, out, size)) return;
    }
    pthread_mutex_lock(&log_lock);
    fprintf(log_file, "%s %ld %ld %ld %ld %ld %ld %ld %ld %ld %ld %d ", id, asked, line->rtt, head[0], head[1], moment[0][0],
        moment[0][1], moment[tokens - 1][0], moment[tokens - 1][1], line->before, line->after, tokens);
    for (int i = 0; i < tokens; i++) fprintf(log_file, i ? ",%ld" : "%ld", moment[i][1]);
    fputc('\n', log_file);
    fflush(log_file);
    pthread_mutex_unlock(&log_lock);
}

static void converse(Line *line) {
    char request[65536];
    int size = 0;
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(line->fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0) line->rtt = info.tcpi_rtt;
    if (context && line->ssl == (SSL *)1 && shake_hands(line)) return;
    for (;;) {
        int n = get(line, request + size, sizeof request - 1 - size);
        if (n <= 0) return;
        size += n;
        request[size] = 0;
        char *end = strstr(request, "\r\n\r\n");
        if (!end) continue;
        char *said = strcasestr(request, "\r\ncontent-length:");
        long body = said && said < end ? atol(said + 17) : 0;
        if (size >= end + 4 - request + body) break;
    }
    char method[16], id[64];
    long first, tokens, gap, end;
    int flags;
    if (sscanf(request, "%15s /%63[^/]/%ld/%ld/%ld/%ld/%d", method, id, &first, &tokens, &gap, &end, &flags) != 7) return;
    if (tokens > MOST_TOKENS) tokens = MOST_TOKENS;
    answer(line, id, first, (int)tokens, gap, end, flags);
}

static void *serve(void *given) {
    Line line = { 0 };
    line.fd = (int)((intptr_t)given >> 1);
    if ((intptr_t)given & 1) line.ssl = (SSL *)1;
    converse(&line);
    if (line.ssl && line.ssl != (SSL *)1) SSL_free(line.ssl);
    close(line.fd);
    return NULL;
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one); /* those that it accepts inherit it */
    if (bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, 4096)) { perror("truth"); exit(1); }
    return fd;
}

typedef struct { int fd, secure; } Door;

static void *accept_all(void *given) {
    Door *door = given;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept(door->fd, NULL, NULL);
        pthread_t thread;
        if (fd < 0) continue;
        if (pthread_create(&thread, &attributes, serve, (void *)((intptr_t)fd << 1 | door->secure))) close(fd);
    }
    return NULL;
}

int main(int count, char **words) {
    if (count < 4) { fprintf(stderr, "usage: truth PORT TLS_PORT LOG [CERTIFICATE]\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files = { 65536, 65536 };
    setrlimit(RLIMIT_NOFILE, &files);
    /* Truth is not late: ahead of everybody else where we may. */
    struct sched_param first = { .sched_priority = 1 };
    sched_setscheduler(0, SCHED_FIFO, &first);
    log_file = fopen(words[3], "w");
    if (!log_file) { perror("truth"); return 1; }
    static Door plain, secure;
    plain.fd = listen_on(atoi(words[1]));
    pthread_t thread;
    if (count > 4) {
        context = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(context, words[4]) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, words[4], SSL_FILETYPE_PEM) != 1) {
            ERR_print_errors_fp(stderr);
            return 1;
        }
        secure.fd = listen_on(atoi(words[2]));
        secure.secure = 1;
        pthread_create(&thread, NULL, accept_all, &secure);
    }
    puts("ready");
    fflush(stdout);
    accept_all(&plain);
    return 0;
}
