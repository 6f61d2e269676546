// SPDX-License-Identifier: Apache-2.0
#pragma once

// Macros that headers of systems and libraries define without asking. Our headers must mean the same after
// them. Not among them: min and max of <windows.h>, which is told NOMINMAX; the library's headers say
// duration::max() as all the world does.
#undef major
#undef minor
#undef unix
#undef linux
#undef I
#define major(device) no_such_name_major // <sys/sysmacros.h>
#define minor(device) no_such_name_minor
#define unix 1 // gnu++20
#define linux 1
#define I no_such_name_I             // <complex.h>
#define B0 no_such_name_B0           // <termios.h>
#define ERR no_such_name_ERR         // <curses.h>
#define OK no_such_name_OK           // <curses.h>
#define ERROR no_such_name_ERROR     // <wingdi.h>
#define IGNORE no_such_name_IGNORE   // <winbase.h>
#define DELETE no_such_name_DELETE   // <winnt.h>
#define STRICT no_such_name_STRICT   // <windef.h>
#define small no_such_name_small     // <rpcndr.h>
#define near                         // <windef.h>
#define far                          // <windef.h>
#define interface struct             // <combaseapi.h>
#define Status no_such_name_Status   // <X11/Xlib.h>
#define Success no_such_name_Success // <X11/X.h>
#define None no_such_name_None       // <X11/X.h>
#define Always no_such_name_Always   // <X11/X.h>
#define Bool no_such_name_Bool       // <X11/Xlib.h>
#define foreach for // <QtCore/qobjectdefs.h>
#define signals public
#define slots
#define emit
