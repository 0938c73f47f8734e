/*
 * First sector of a disk that boots a kernel as fast as an emulated processor can be made to: it
 * reads one blob to where the kernel has to lie and enters it as a PVH guest. The kernel is not
 * compressed, which spares its guest the work, and nothing but the disk is read.
 *
 * Assembled with LOAD, CHUNKS, SECTOR and ENTRY: address of the blob, 32 KiB pieces of it, its
 * first sector on the disk, and where the kernel is entered. The blob begins with struct
 * hvm_start_info. Xen, docs/misc/pvh.pandoc; int 13h, function 42h: EDD 3.0.
 */
.set BUFFER, 0x8000
.set CHUNK_SECTORS, 64

        .code16
        .globl _start
_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        ljmp    $0, $next
next:   movl    $LOAD, %edi
        movl    $CHUNKS, %ebp

        /* The firmware tells the drive in %dl, and may leave other limits than it found. */
read:   movw    $packet, %si
        movb    $0x42, %ah
        pushl   %edi
        pushl   %ebp
        pushw   %dx
        int     $0x13
        popw    %dx
        popl    %ebp
        popl    %edi
        jc      fail

        cli
        lgdt    gdtr
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        movw    $0x10, %bx
        movw    %bx, %ds
        movw    %bx, %es
        andb    $0xfe, %al
        movl    %eax, %cr0
        /* Real mode again, but with segments of 4 GiB. */
        xorw    %bx, %bx
        movw    %bx, %ds
        movw    %bx, %es
        movl    $BUFFER, %esi
        movl    $(CHUNK_SECTORS * 512 / 4), %ecx
        cld
        addr32 rep movsl
        sti
        addl    $CHUNK_SECTORS, lba
        decl    %ebp
        jnz     read

        cli
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x08, $flat

fail:   hlt
        jmp     fail

        .code32
flat:   movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $LOAD, %ebx
        movl    $ENTRY, %eax
        jmp     *%eax

        .balign 8
packet: .byte   16, 0
        .word   CHUNK_SECTORS, BUFFER, 0
lba:    .quad   SECTOR
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   .word   . - gdt - 1
        .long   gdt

        .org    510
        .word   0xaa55
