package gvisor

// umounter returns the umounter's program.
func umounter() []byte {
	return elf(62, []byte{
		0x48, 0x83, 0xec, 0x10, // sub rsp, 16
		0x31, 0xc0, // xor eax, eax          read(
		0xbf, 3, 0, 0, 0, // mov edi, 3            3,
		0x48, 0x89, 0xe6, // mov rsi, rsp          stack,
		0xba, 1, 0, 0, 0, // mov edx, 1            1)
		0x0f, 0x05, // syscall
		0x48, 0x83, 0xf8, 0xfc, // cmp rax, -EINTR       again
		0x74, 0xe9, // je -23
		0x48, 0x83, 0xf8, 1, // cmp rax, 1            not the word
		0x75, 0x17, // jne +23
		0xb8, 166, 0, 0, 0, // mov eax, 166          umount2(
		0x48, 0x8d, 0x3d, 27, 0, 0, 0, // lea rdi, [rip+27]     "/proc",
		0xbe, 2, 0, 0, 0, // mov esi, 2            MNT_DETACH)
		0x0f, 0x05, // syscall
		0x85, 0xc0, // test eax, eax
		0x74, 0x07, // je +7
		0xbf, 1, 0, 0, 0, // mov edi, 1
		0xeb, 0x02, // jmp +2
		0x31, 0xff, // xor edi, edi
		0xb8, 231, 0, 0, 0, // mov eax, 231          exit_group(edi)
		0x0f, 0x05, // syscall
		'/', 'p', 'r', 'o', 'c', 0,
	})
}
