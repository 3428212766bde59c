package packaging_test

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"errors"
	"testing"
)

// programOf says for which machine a program is.
func programOf(program []byte) (machine, error) {
	r := bytes.NewReader(program)
	switch {
	case bytes.HasPrefix(program, []byte(elf.ELFMAG)):
		f, err := elf.NewFile(r)
		if err != nil {
			return machine{}, err
		}
		return machine{"linux", map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]}, nil
	case bytes.HasPrefix(program, []byte("MZ")):
		f, err := pe.NewFile(r)
		if err != nil {
			return machine{}, err
		}
		return machine{"windows", map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64"}[f.Machine]}, nil
	}
	f, err := macho.NewFile(r)
	if err != nil {
		return machine{}, errors.New("it is no program")
	}
	return machine{"darwin", map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[f.Cpu]}, nil
}

// stub is the beginning of a program for a machine: what says for which one it is, and nothing that could be run.
func stub(on machine) []byte {
	amd := on.arch == "amd64"
	switch on.os {
	case "linux":
		out := make([]byte, 64)
		copy(out, elf.ELFMAG)
		out[elf.EI_CLASS], out[elf.EI_DATA], out[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
		binary.LittleEndian.PutUint16(out[16:], uint16(elf.ET_EXEC))
		binary.LittleEndian.PutUint16(out[18:], uint16(pick(amd, elf.EM_X86_64, elf.EM_AARCH64)))
		binary.LittleEndian.PutUint32(out[20:], uint32(elf.EV_CURRENT))
		binary.LittleEndian.PutUint16(out[52:], 64) // its own size
		return out
	case "darwin":
		out := make([]byte, 32)
		binary.LittleEndian.PutUint32(out, macho.Magic64)
		binary.LittleEndian.PutUint32(out[4:], uint32(pick(amd, macho.CpuAmd64, macho.CpuArm64)))
		binary.LittleEndian.PutUint32(out[12:], uint32(macho.TypeExec))
		return out
	}
	out := make([]byte, 96+4+20)
	copy(out, "MZ")
	binary.LittleEndian.PutUint32(out[0x3c:], 96)
	copy(out[96:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(out[100:], uint16(pick(amd, pe.IMAGE_FILE_MACHINE_AMD64, pe.IMAGE_FILE_MACHINE_ARM64)))
	return out
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func TestProgramsSayForWhichMachineTheyAre(t *testing.T) {
	for _, os := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			want := machine{os, arch}
			if got, err := programOf(stub(want)); err != nil || got != want {
				t.Errorf("a program for %v is said to be for %v: %v", want, got, err)
			}
		}
	}
	if got, err := programOf([]byte("#!/bin/sh\n")); err == nil {
		t.Errorf("a script is said to be a program for %v", got)
	}
}
