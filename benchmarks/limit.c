/* The limit that files.py compares with: the system calls a batch of .npy files takes, from C.
 *
 * For each batch: memory newly allocated as numpy.empty does it, then for each file open, one vectored
 * read (its header, and its data into the batch's row), close, and a comparison of the header; then
 * the memory is freed. Threads take the next batch from a counter.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 64
#define MAX_HEADER_BYTES 4096

struct epoch {
    const char *const *paths;
    const int64_t *order; /* n_batches * batch_size indices of paths */
    size_t n_batches, batch_size;
    const char *header; /* what each file must begin with */
    size_t header_bytes, sample_bytes;
    double started;
    double *finished; /* of each batch, in seconds since the start */
    double *checksums; /* of each batch: the first float32 of each sample, added up */
    atomic_size_t next;
    atomic_int error; /* an errno; 0 is success */
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* malloc, and from 4 MiB on the request for huge pages that numpy makes. */
static char *allocate(size_t size) {
    char *memory = malloc(size);
    if (memory && size >= (size_t)1 << 22) {
        size_t offset = 4096 - (uintptr_t)memory % 4096;
        madvise(memory + offset, size - offset, MADV_HUGEPAGE);
    }
    return memory;
}

static int read_sample(const struct epoch *e, const char *path, char *row) {
    char header[MAX_HEADER_BYTES];
    struct iovec parts[2] = {{header, e->header_bytes}, {row, e->sample_bytes}};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return errno;
    ssize_t received = preadv(file, parts, 2, 0);
    int error = received < 0 ? errno : 0;
    close(file);
    if (!error && ((size_t)received != e->header_bytes + e->sample_bytes ||
                   memcmp(header, e->header, e->header_bytes)))
        error = EIO;
    return error;
}

static int read_batch(struct epoch *e, size_t batch) {
    char *rows = allocate(e->batch_size * e->sample_bytes);
    if (!rows)
        return ENOMEM;
    int error = 0;
    double checksum = 0;
    for (size_t i = 0; i < e->batch_size && !error; i++) {
        char *row = rows + i * e->sample_bytes;
        float first = 0;
        error = read_sample(e, e->paths[e->order[batch * e->batch_size + i]], row);
        if (!error)
            memcpy(&first, row, sizeof first);
        checksum += first;
    }
    e->finished[batch] = now() - e->started;
    e->checksums[batch] = checksum;
    free(rows);
    return error;
}

static void *work(void *argument) {
    struct epoch *e = argument;
    size_t batch;
    while (!atomic_load(&e->error) && (batch = atomic_fetch_add(&e->next, 1)) < e->n_batches) {
        int error = read_batch(e, batch);
        if (error)
            atomic_store(&e->error, error);
    }
    return NULL;
}

/* Reads an epoch with n_threads threads; returns 0 or an errno. */
int read_epoch(const char *const *paths, const int64_t *order, size_t n_batches, size_t batch_size,
               const char *header, size_t header_bytes, size_t sample_bytes, int n_threads,
               double *finished, double *checksums) {
    struct epoch e = {.paths = paths,
                      .order = order,
                      .n_batches = n_batches,
                      .batch_size = batch_size,
                      .header = header,
                      .header_bytes = header_bytes,
                      .sample_bytes = sample_bytes,
                      .started = now(),
                      .finished = finished,
                      .checksums = checksums};
    pthread_t threads[MAX_THREADS];
    int started = 0;
    if (n_threads < 1 || n_threads > MAX_THREADS || header_bytes > MAX_HEADER_BYTES ||
        sample_bytes < sizeof(float))
        return EINVAL;
    for (; started < n_threads && !atomic_load(&e.error); started++) {
        int error = pthread_create(&threads[started], NULL, work, &e);
        if (error) {
            atomic_store(&e.error, error);
            break;
        }
    }
    while (started--)
        pthread_join(threads[started], NULL);
    return atomic_load(&e.error);
}
