/* Feeds the files it is given, and the files of the folders it is given, to a fuzz target: what the
 * corpus once found stays found. Linked in place of libFuzzer (REPLAY=1). */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (16u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static size_t n_files;

static int replay_file(const char *path, size_t size)
{
	uint8_t *data;
	FILE *f;
	size_t n;

	if (size > INPUT_MAX) {
		fprintf(stderr, "%s: larger than %u bytes\n", path, INPUT_MAX);
		return -EFBIG;
	}
	/* Exactly as large as the input, so that a read past its end is seen. */
	data = malloc(size > 0 ? size : 1);
	f = fopen(path, "rbe");
	if (!data || !f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		free(data);
		if (f)
			(void)fclose(f);
		return -EIO;
	}
	n = fread(data, 1, size, f);
	(void)fclose(f);
	if (n == size) {
		(void)LLVMFuzzerTestOneInput(data, size);
		n_files++;
	}
	free(data);
	return n == size ? 0 : -EIO;
}

static int replay(const char *path)
{
	struct dirent **names = NULL;
	struct stat st;
	int n, r = 0;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -errno;
	}
	if (!S_ISDIR(st.st_mode))
		return replay_file(path, (size_t)st.st_size);
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		char full[4096];

		if (names[i]->d_name[0] != '.' &&
		    (size_t)snprintf(full, sizeof(full), "%s/%s", path, names[i]->d_name) <
			    sizeof(full) &&
		    replay(full) < 0)
			r = -EIO;
		free(names[i]);
	}
	free(names);
	return r;
}

int main(int argc, char **argv)
{
	int r = 0;

	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) < 0)
			r = 1;
	printf("%zu inputs replayed\n", n_files);
	/* A corpus that is not there proves nothing. */
	return n_files == 0 ? 1 : r;
}
