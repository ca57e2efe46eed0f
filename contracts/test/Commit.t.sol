// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";
import {Sender} from "./support/Strangers.sol";

/// @title What a commit refuses, each with an error of its own
contract CommitTest is Fixture {
    address private constant ELSEWHERE = address(0x5e5e);

    function setUp() public {
        deployWithQueue();
    }

    function refuses(ILedger.Commit memory batch, bytes memory error) private {
        vm.expectRevert(error);
        commit(batch);
    }

    // ---- who, which, when ----

    function test_anybody_but_the_operator() public {
        ILedger.Commit memory batch = commitOf(1);
        vm.prank(BOB, BOB);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotOperator.selector));
        rollup.commit(batch);
    }

    function test_calldata_that_could_be_hidden() public {
        ILedger.Commit memory batch = commitOf(1);
        vm.prank(OPERATOR, BOB);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotOutermostCall.selector));
        rollup.commit(batch);
        // an account with delegated code (EIP-7702) could call itself
        vm.etch(OPERATOR, abi.encodePacked(hex"ef0100", address(this)));
        refuses(batch, abi.encodeWithSelector(ILedger.NotOutermostCall.selector));
    }

    function test_contract_that_sends_a_commit() public {
        Sender sender = new Sender();
        ILedger.Params memory p = params();
        p.operator = address(sender);
        construct(ELSEWHERE, p);
        ILedger.Commit memory batch = commitOf(1);
        vm.prank(BOB, BOB);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotOutermostCall.selector));
        sender.commit(IRollup(ELSEWHERE), batch);
    }

    function test_number() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.number = 2;
        refuses(batch, abi.encodeWithSelector(ILedger.WrongNumber.selector, 2, 1));
        batch.number = 0;
        refuses(batch, abi.encodeWithSelector(ILedger.WrongNumber.selector, 0, 1));
        commitFixtures(1, 1);
        refuses(commitOf(1), abi.encodeWithSelector(ILedger.WrongNumber.selector, 1, 2));
    }

    function test_circuit() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.circuit = 0;
        refuses(batch, abi.encodeWithSelector(ILedger.UnknownCircuit.selector, 0));
        batch.circuit = 3;
        refuses(batch, abi.encodeWithSelector(ILedger.UnknownCircuit.selector, 3));
    }

    function test_points() public {
        for (uint256 i; i < 8; ++i) {
            ILedger.Commit memory batch = commitOf(2);
            batch.number = 1;
            if (i < 6) batch.commitments[i] ^= 1;
            else batch.cq = i == 6 ? [uint256(1), 3] : [P, P];
            (uint256 x, uint256 y) = i < 6 ? (batch.commitments[i & ~uint256(1)], batch.commitments[i | 1]) : (batch.cq[0], batch.cq[1]);
            refuses(batch, abi.encodeWithSelector(ILedger.PointNotOnCurve.selector, 1, ILedger.Point(i / 2), x, y));
        }
    }

    function test_transcript() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.h += R;
        refuses(batch, abi.encodeWithSelector(ILedger.PublicInputOutOfRange.selector, batch.h));
        batch.h = R;
        refuses(batch, abi.encodeWithSelector(ILedger.PublicInputOutOfRange.selector, R));
    }

    // ---- queue ----

    function test_entries_that_are_not_the_next() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.taken[0].amount += 1;
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        batch = commitOf(1);
        batch.queueDigest = 0;
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        batch = commitOf(1);
        (batch.taken[0], batch.taken[1]) = (batch.taken[1], batch.taken[0]);
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        batch = commitOf(2);
        batch.number = 1;
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
    }

    function test_entry_that_is_skipped() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.taken[0] = entryOf(2);
        batch.taken[1] = entryOf(3);
        batch.queueDigest = rollup.queueDigest(3);
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
    }

    function test_entry_that_nobody_queued() public {
        commitFixtures(1, 3);
        ILedger.Commit memory batch = commitOf(4);
        batch.taken = new ILedger.QueueEntry[](1);
        batch.taken[0] = entryOf(1);
        batch.choices = new uint256[](1);
        batch.choices[0] = 0x0101;
        batch.queueDigest = keccak256(abi.encode(rollup.queueDigest(6), keccak256(abi.encode(batch.taken[0]))));
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        // the digest of an entry that does not exist is 0
        batch.queueDigest = 0;
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
    }

    function test_digest_that_was_right_one_entry_ago() public {
        commitFixtures(1, 1);
        ILedger.Commit memory batch = commitOf(5);
        batch.number = 2;
        batch.queueDigest = rollup.queueDigest(1);
        refuses(batch, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        batch.queueDigest = rollup.queueDigest(2);
        commit(batch);
        vm.assertEq(rollup.queueCommitted(), 2);
    }

    function test_choice_of_a_kind_that_only_its_payload_shows() public {
        for (uint256 kind; kind < 5; ++kind) {
            if (kind == 1) continue;
            ILedger.Commit memory batch = commitOf(1);
            batch.choices[1] = 2 << 8 | kind;
            refuses(batch, abi.encodeWithSelector(ILedger.WrongChoiceKind.selector, 2 << 8 | kind, 1));
            batch.choices[1] = kind;
            refuses(batch, abi.encodeWithSelector(ILedger.WrongChoiceKind.selector, kind, 1));
        }
    }

    function test_choice_count() public {
        ILedger.Commit memory batch = commitOf(1);
        uint256[] memory choices = new uint256[](3);
        (choices[0], choices[1]) = (batch.choices[0], batch.choices[1]);
        batch.choices = choices;
        refuses(batch, abi.encodeWithSelector(ILedger.WrongChoiceCount.selector, 3, 2));
        batch.choices = new uint256[](0);
        refuses(batch, abi.encodeWithSelector(ILedger.WrongChoiceCount.selector, 0, 2));
    }

    function test_slot_of_a_deposit() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.choices[0] = 1 << 24 | 1;
        refuses(batch, abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, 1 << 16));
        batch.choices[0] = 0xffff01;
        commit(batch);
    }

    function test_more_deposits_than_the_circuit_holds() public {
        ILedger.Commit memory batch = commitOf(1);
        ILedger.QueueEntry[] memory taken = new ILedger.QueueEntry[](3);
        (taken[0], taken[1], taken[2]) = (entryOf(1), entryOf(2), entryOf(3));
        (batch.taken, batch.choices, batch.queueDigest) = (taken, new uint256[](3), rollup.queueDigest(3));
        (batch.choices[0], batch.choices[1], batch.choices[2]) = (0x101, 0x201, 0x301);
        refuses(batch, abi.encodeWithSelector(ILedger.TooManyDeposits.selector, 3, 2));
        // refunds take no slot
        batch.choices[1] = 0x001;
        commit(batch);
    }

    // ---- withdrawals ----

    function test_words_of_a_withdrawal() public {
        ILedger.Withdrawal[3] memory wide =
            [ILedger.Withdrawal(1 << 56, 1, 1), ILedger.Withdrawal(1, 1 << 112, 1), ILedger.Withdrawal(1, 1, 1 << 160)];
        uint256[3] memory words = [uint256(1) << 56, 1 << 112, 1 << 160];
        for (uint256 i; i < 3; ++i) {
            ILedger.Commit memory batch = commitOf(1);
            batch.withdrawals = new ILedger.Withdrawal[](2);
            batch.withdrawals[1] = wide[i];
            refuses(batch, abi.encodeWithSelector(ILedger.WithdrawalOutOfRange.selector, 1, words[i]));
        }
        ILedger.Commit memory widest = commitOf(1);
        widest.withdrawals = new ILedger.Withdrawal[](1);
        widest.withdrawals[0] = ILedger.Withdrawal((1 << 56) - 1, (1 << 112) - 1, (1 << 160) - 1);
        commit(widest);
    }

    function test_more_withdrawals_than_the_circuit_holds() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.withdrawals = new ILedger.Withdrawal[](3);
        refuses(batch, abi.encodeWithSelector(ILedger.TooManyWithdrawals.selector, 3, 2));
    }

    // ---- posted data ----

    /// @dev Posted data with these counts and so many bytes of 0.
    function zeros(bytes6 counts, uint256 length) private pure returns (bytes memory) {
        return abi.encodePacked(counts, new bytes(length));
    }

    function test_padding_of_the_last_pair_only() public {
        ILedger.Commit memory batch = commitOf(1);
        for (uint256 i; i < 13; ++i) {
            batch.data = zeros(hex"000300000000", 52);
            batch.data[32 + i] = 0x01;
            refuses(batch, abi.encodeWithSelector(ILedger.PaddingNotZero.selector));
        }
        batch.data = zeros(hex"000300000000", 52);
        for (uint256 i = 6; i < 58; ++i) {
            if (i < 32 || i >= 45) batch.data[i] = 0xff;
        }
        commit(batch);
    }

    function test_length_of_the_data() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.data = "";
        refuses(batch, abi.encodeWithSelector(ILedger.WrongDataLength.selector, 0, 6));
        batch.data = hex"0000000000";
        refuses(batch, abi.encodeWithSelector(ILedger.WrongDataLength.selector, 5, 6));
        batch.data = hex"00000000000000";
        refuses(batch, abi.encodeWithSelector(ILedger.WrongDataLength.selector, 7, 6));
        batch.data = zeros(hex"000200000001", 44);
        refuses(batch, abi.encodeWithSelector(ILedger.WrongDataLength.selector, 50, 51));
    }

    function testFuzz_length_of_the_data(uint8 transfers, uint8 fees, uint8 length) public {
        (transfers, fees) = (transfers % 5, fees % 3);
        uint256 expected = 26 * ((uint256(transfers) + 1) / 2) + 19 * uint256(fees);
        ILedger.Commit memory batch = commitOf(1);
        batch.data = abi.encodePacked(uint16(transfers), uint16(0), uint16(fees), new bytes(length));
        if (length != expected) {
            refuses(batch, abi.encodeWithSelector(ILedger.WrongDataLength.selector, 6 + uint256(length), 6 + expected));
        }
        batch.data = abi.encodePacked(uint16(transfers), uint16(0), uint16(fees), new bytes(expected));
        commit(batch);
        vm.assertEq(rollup.committed(), 1);
    }

    function test_kinds_over_capacity() public {
        ILedger.Commit memory batch = commitOf(1);
        batch.data = zeros(hex"000500000000", 78);
        refuses(batch, abi.encodeWithSelector(ILedger.TooManyTransfers.selector, 5, 4));
        batch.data = zeros(hex"000000020000", 124);
        refuses(batch, abi.encodeWithSelector(ILedger.TooManyRegisters.selector, 2, 1));
        batch.data = zeros(hex"000000000003", 57);
        refuses(batch, abi.encodeWithSelector(ILedger.TooManyFees.selector, 3, 2));
    }
}
