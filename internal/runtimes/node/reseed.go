package node

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// Node.js can't reseed OpenSSL's random generators, whose state is in a snapshot
// as all memory is: copies would make the same keys. OpenSSL can, and Node.js
// exports it to native modules. So this writes the smallest of those: a shared
// object whose loading calls RAND_poll, which has OpenSSL take new entropy from
// the kernel. Its parts are few and never change, which is why no compiler is
// asked to make it.

// reseedName is the module's file name.
const reseedName = "reseed.node"

// Sizes and places in the module. All of the file fits one page.
const (
	headerSize, programSize  = 64, 56
	symbolSize, relaSize     = 24, 24
	dynamicSize, pointerSize = 16, 8
	programs                 = 4
	symbolsAt                = headerSize + programs*programSize
	page                     = 0x10000 // the largest that arm64 has
)

// reseedModule returns the module for GOARCH arch.
func reseedModule(arch string) ([]byte, error) {
	names := []byte("\x00RAND_poll\x00")
	namesAt := symbolsAt + 2*symbolSize
	hashAt := align(namesAt + len(names))
	hash := []uint32{1, 2, 0, 0, 0} // one bucket, two symbols, nothing to be found
	relaAt := align(hashAt + 4*len(hash))
	codeAt := align(relaAt + relaSize)
	const codeRoom = 32
	dataAt := align(codeAt + codeRoom) // in the file; one page further in memory
	dynamics := []elf.Dyn64{
		{Tag: int64(elf.DT_HASH), Val: uint64(hashAt)},
		{Tag: int64(elf.DT_SYMTAB), Val: symbolsAt},
		{Tag: int64(elf.DT_STRTAB), Val: uint64(namesAt)},
		{Tag: int64(elf.DT_STRSZ), Val: uint64(len(names))},
		{Tag: int64(elf.DT_SYMENT), Val: symbolSize},
		{Tag: int64(elf.DT_RELA), Val: uint64(relaAt)},
		{Tag: int64(elf.DT_RELASZ), Val: relaSize},
		{Tag: int64(elf.DT_RELAENT), Val: relaSize},
		{Tag: int64(elf.DT_INIT), Val: uint64(codeAt)},
		{Tag: int64(elf.DT_NULL)},
	}
	slotAt := page + dataAt + len(dynamics)*dynamicSize // in memory: where the loader puts RAND_poll's address

	machine, relocation, code, err := reseedCode(arch, slotAt-codeAt)
	if err != nil {
		return nil, err
	}
	size := dataAt + len(dynamics)*dynamicSize + pointerSize
	data := uint64(size - dataAt)
	head := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: headerSize, Ehsize: headerSize, Phentsize: programSize, Phnum: programs,
	}
	segments := [programs]elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: uint64(dataAt), Memsz: uint64(dataAt), Align: page},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: uint64(dataAt), Vaddr: uint64(page + dataAt), Filesz: data, Memsz: data, Align: page},
		{Type: uint32(elf.PT_DYNAMIC), Flags: uint32(elf.PF_R | elf.PF_W), Off: uint64(dataAt), Vaddr: uint64(page + dataAt), Filesz: data - pointerSize, Memsz: data - pointerSize, Align: 8},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16},
	}
	var b bytes.Buffer
	put := func(at int, v any) {
		b.Write(make([]byte, at-b.Len()))
		binary.Write(&b, binary.LittleEndian, v) // to memory: it can't fail
	}
	put(0, head)
	put(headerSize, segments)
	put(symbolsAt, [2]elf.Sym64{1: {Name: 1, Info: byte(elf.STB_GLOBAL)<<4 | byte(elf.STT_FUNC)}})
	put(namesAt, names)
	put(hashAt, hash)
	put(relaAt, elf.Rela64{Off: uint64(slotAt), Info: 1<<32 | uint64(relocation)})
	put(codeAt, code)
	put(dataAt, dynamics)
	put(size-pointerSize, uint64(0))
	return b.Bytes(), nil
}

// reseedCode returns a function that calls what the slot, which is distance
// bytes away, points to.
func reseedCode(arch string, distance int) (machine elf.Machine, relocation uint32, code []byte, err error) {
	le := binary.LittleEndian
	switch arch {
	case "amd64":
		code = []byte{0x48, 0x83, 0xec, 0x08, 0xff, 0x15}                                                    // sub rsp, 8; call [rip+…]
		code = le.AppendUint32(code, uint32(distance-10))                                                    // from the next instruction
		return elf.EM_X86_64, uint32(elf.R_X86_64_GLOB_DAT), append(code, 0x48, 0x83, 0xc4, 0x08, 0xc3), nil // add rsp, 8; ret
	case "arm64":
		for _, word := range []uint32{
			0xa9bf7bfd,                           // stp x29, x30, [sp, #-16]!
			0x58000010 | uint32(distance-4)/4<<5, // ldr x16, slot
			0xd63f0200,                           // blr x16
			0xa8c17bfd,                           // ldp x29, x30, [sp], #16
			0xd65f03c0,                           // ret
		} {
			code = le.AppendUint32(code, word)
		}
		return elf.EM_AARCH64, uint32(elf.R_AARCH64_GLOB_DAT), code, nil
	}
	return 0, 0, nil, fmt.Errorf("no reseeding on %s", arch)
}

func align(n int) int { return (n + 7) &^ 7 }
